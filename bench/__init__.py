# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: each module that has a `run` yields figures, with a peer in the same run."""
