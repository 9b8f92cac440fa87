# SPDX-License-Identifier: Apache-2.0
"""Migrations of the alarm database, run by Alembic."""
