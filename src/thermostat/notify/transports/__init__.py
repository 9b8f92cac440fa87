# SPDX-License-Identifier: Apache-2.0
"""Transports: one small file per way to deliver a notification."""
