# SPDX-License-Identifier: Apache-2.0
"""Thermostat: measure a group of machines, decide against an alarm, scale the group."""
