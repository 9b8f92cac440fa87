# SPDX-License-Identifier: Apache-2.0
"""The outcomes of tests in JUnit's XML form, which most CI systems show."""

from collections.abc import Sequence
from xml.etree import ElementTree

from thermostat.replay.testing import Outcome


def junit(outcomes: Sequence[Outcome]) -> bytes:
    """Give the XML document: one suite for each file."""
    root = ElementTree.Element("testsuites")
    for file in dict.fromkeys(one.case.file for one in outcomes):
        of_file = [one for one in outcomes if one.case.file == file]
        failed = sum(bool(one.failures) for one in of_file)
        counts = {"tests": str(len(of_file)), "failures": str(failed)}
        suite = ElementTree.SubElement(root, "testsuite", {"name": file, **counts})
        for one in of_file:
            place = {"name": one.case.name, "classname": file, "line": str(one.case.line)}
            case = ElementTree.SubElement(suite, "testcase", place)
            for failure in one.failures:
                message = {"message": failure.partition("\n")[0]}
                ElementTree.SubElement(case, "failure", message).text = failure
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
