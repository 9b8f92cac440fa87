# SPDX-License-Identifier: Apache-2.0
"""Alarms on the health of load balancers' members."""
