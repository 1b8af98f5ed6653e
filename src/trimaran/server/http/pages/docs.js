"use strict";
// Shows /openapi.json: operations by tag, their parameters, and the shapes they take and give.

const make = (name, text, kind) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};

const nameOf = (schema) => (schema.$ref ? schema.$ref.split("/").pop() : null);

const typeOf = (schema) => {
  if (!schema) return "any";
  if (schema.$ref) return nameOf(schema);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `[${typeOf(schema.items)}]`;
  if (schema.type === "object" && schema.additionalProperties)
    return `{name: ${typeOf(schema.additionalProperties)}}`;
  return schema.type || "any";
};

const boundsOf = (schema) =>
  ["minimum", "maximum", "minLength", "maxLength", "pattern"]
    .filter((name) => schema && schema[name] !== undefined)
    .map((name) => `${name} ${schema[name]}`)
    .join(", ");

const fieldsTable = (rows) => {
  const table = make("table");
  for (const [name, schema, note] of rows) {
    const row = make("tr");
    const cell = make("td");
    cell.append(make("code", name));
    row.append(cell, make("td", typeOf(schema)));
    row.append(make("td", [note, boundsOf(schema), schema.description].filter(Boolean).join("; ")));
    table.append(row);
  }
  return table;
};

const shape = (schema, shapes, into, seen = new Set()) => {
  const name = nameOf(schema);
  if (!name || seen.has(name)) return;
  seen.add(name);
  const found = shapes[name];
  into.append(make("h4", name));
  if (found.description) into.append(make("p", found.description));
  const required = found.required || [];
  into.append(
    fieldsTable(
      Object.entries(found.properties || {}).map(([field, inner]) => [
        field, inner, required.includes(field) ? "" : "optional",
      ]),
    ),
  );
  const inner = (part) => {
    if (!part || typeof part !== "object") return;
    if (part.$ref) shape(part, shapes, into, seen);
    (part.anyOf || []).forEach(inner);
    inner(part.items);
    inner(part.additionalProperties);
  };
  Object.values(found.properties || {}).forEach(inner);
};

const show = (path, verb, operation, shapes) => {
  const details = make("details");
  const summary = make("summary");
  summary.append(make("span", verb.toUpperCase(), "verb"), make("span", path, "path"));
  summary.append(make("span", operation.summary));
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const body = make("div");
    if (operation.parameters.length) {
      body.append(make("h3", "Parameters"));
      body.append(
        fieldsTable(
          operation.parameters.map((row) => [
            row.name, row.schema, `${row.in}${row.required ? ", required" : ""}`,
          ]),
        ),
      );
    }
    const sent = operation.requestBody?.content["application/json"]?.schema;
    if (sent) {
      body.append(make("h3", "Body"));
      shape(sent, shapes, body);
    }
    body.append(make("h3", "Answers"));
    for (const [status, answer] of Object.entries(operation.responses)) {
      const content = Object.entries(answer.content || {})[0];
      body.append(make("p", `${status}: ${answer.description}${content ? ` (${content[0]})` : ""}`));
      if (content && status !== "default") shape(content[1].schema, shapes, body);
    }
    if (verb === "get" && !path.includes("{")) {
      const link = make("a", `open ${path}`);
      link.href = path;
      body.append(link);
    }
    details.append(body);
  });
  return details;
};

const start = async () => {
  const api = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = api.info.description;
  const list = document.getElementById("api");
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths))
    for (const [verb, operation] of Object.entries(operations)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) {
        const section = make("section");
        section.append(make("h2", tag));
        list.append(section);
        groups.set(tag, section);
      }
      groups.get(tag).append(show(path, verb, operation, api.components.schemas));
    }
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const row of list.querySelectorAll("details"))
      row.hidden = !row.firstElementChild.textContent.toLowerCase().includes(wanted);
  });
};

start().catch((error) => {
  document.getElementById("about").textContent = `The document cannot be shown: ${error}`;
});
