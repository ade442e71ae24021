#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden captures: every folder of tests/golden is a case. argv: vnetscope, the folder.

args           the command line after "vnetscope"; {dir} is the case's folder
expected.json  what the JSON on standard output must contain: members that are not named here are
               free, lists must have as many elements; "exit" stands for the exit code (0 without)
why.md         why these are the right figures
Percentiles (p50, p95, p99) may be off by 1 %, all other numbers must be equal (reals to 1e-9).
"""
import json
import os
import shlex
import subprocess
import sys
import unittest

VNETSCOPE = FOLDER = None


def differences(want, got, where=''):
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return [f'{where}: {got!r} is not an object']
        return [d for k, v in want.items()
                for d in (differences(v, got[k], f'{where}.{k}') if k in got
                          else [f'{where}.{k} is missing'])]
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return [f'{where}: {len(want)} elements wanted, got {got!r}']
        return [d for i, v in enumerate(want) for d in differences(v, got[i], f'{where}[{i}]')]
    if isinstance(want, (int, float)) and not isinstance(want, bool):
        if isinstance(got, bool) or not isinstance(got, (int, float)):
            return [f'{where}: {got!r} is not a number']
        share = 0.01 if where.rsplit('.', 1)[-1] in ('p50', 'p95', 'p99') else 1e-9
        return [] if abs(got - want) <= share * abs(want) else [f'{where}: {got}, want {want}']
    return [] if got == want and type(got) is type(want) else [f'{where}: {got!r}, want {want!r}']


class Golden(unittest.TestCase):
    def test_cases(self):
        cases = sorted(d for d in os.listdir(FOLDER) if os.path.isdir(os.path.join(FOLDER, d)))
        self.assertGreater(len(cases), 4)
        for case in cases:
            with self.subTest(case=case):
                self.check(os.path.join(FOLDER, case))
        print(f'{len(cases)} cases', file=sys.stderr)

    def check(self, folder):
        with open(os.path.join(folder, 'args')) as f:
            args = [a.replace('{dir}', folder) for a in shlex.split(f.read())]
        with open(os.path.join(folder, 'expected.json')) as f:
            want = json.load(f)
        self.assertTrue(os.path.exists(os.path.join(folder, 'why.md')))
        code = want.pop('exit', 0)
        r = subprocess.run([VNETSCOPE, *args], capture_output=True, text=True, timeout=900)
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertEqual(differences(want, json.loads(r.stdout)), [])


if __name__ == '__main__':
    VNETSCOPE, FOLDER = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
