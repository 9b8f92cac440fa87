# SPDX-License-Identifier: Apache-2.0
"""Notification: the outbox's worker and the transports it speaks."""
