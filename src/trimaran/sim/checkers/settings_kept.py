"""A change of a setting that was acknowledged is in force in the end, on every node that runs."""

from collections.abc import Iterator, Sequence

from trimaran.broker.controller import Controller
from trimaran.ids import METADATA_GROUP
from trimaran.metadata.topic_settings import TOPIC_SETTINGS
from trimaran.sim.checkers.checker import Checker, Evidence
from trimaran.sim.history import History
from trimaran.sim.settings_changer import allowed_values


class SettingsKept(Checker):
    """Remembers who holds each node's image; a run ends when all have caught up."""

    def __init__(self) -> None:
        self._controllers: dict[str, Controller] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Take in who holds an image."""
        for view in views:
            if view.group == METADATA_GROUP and view.replica is not None:
                assert isinstance(view.replica.machine, Controller)
                self._controllers[view.node] = view.replica.machine
        yield from ()

    def finish(self, history: History) -> Iterator[str]:
        """Compare each node's settings with the changes that clients know of."""
        for node, controller in self._controllers.items():
            topic = controller.image.topic(history.settings_topic)
            if topic is None:
                continue
            for name in dict.fromkeys(note.name for note in history.settings):
                value = topic.settings.get(name, TOPIC_SETTINGS[name].default)
                allowed = allowed_values(history.settings, name)
                if value not in allowed:
                    expected = ", ".join(allowed)
                    yield f"{node}: {topic.name}: {name} is {value}, expected one of {expected}"
