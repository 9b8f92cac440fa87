# SPDX-License-Identifier: Apache-2.0
"""Alarms, their history and the outbox in SQL."""
