# SPDX-License-Identifier: Apache-2.0
"""Alarms: rules, states, queries and transitions. Pure: no I/O, no clock, no random."""
