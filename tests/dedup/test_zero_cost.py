"""The comparison of topics without event ids with a package that knows none."""

import py_compile

from tests.dedup.zero_cost import CUTS, PACKAGE, compared, without_event_ids


def test_what_is_cut_out_for_the_comparison_stands_in_the_sources(tmp_path):
    without_event_ids(tmp_path / "trimaran")

    for name in CUTS:
        cut = tmp_path / "trimaran" / name
        assert cut.read_text() != (PACKAGE / name).read_text()
        py_compile.compile(str(cut), doraise=True)


def test_a_difference_within_the_spread_of_the_runs_is_none():
    assert not compared("x", [1.0, 1.1, 1.2], [1.0, 1.05, 1.1])[1]
    assert compared("x", [1.3, 1.31, 1.32], [1.0, 1.01, 1.02])[1]
