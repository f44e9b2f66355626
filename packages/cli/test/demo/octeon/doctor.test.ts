import { expect, it } from 'vitest'
import { type Diagnosis, diagnosed } from '../../../src/demo/octeon/doctor.ts'
import type { CheckResult, CheckState } from '../../../src/doctor/check.ts'

const result = (id: string, state: CheckState, seen = ''): CheckResult => ({ id, title: id, state, seen, why: '', remedy: '' })
const FOUND = [result('a', 'ok', 'it was killed'), result('b', 'fail', 'down'), result('c', 'warn', 'old'), result('d', 'warn', 'usual')]
const TOLD: NonNullable<Diagnosis['told']> = { id: 'a', text: /killed$/ }

it.each<[string, Diagnosis, boolean]>([
  ['all and what has happened', { named: ['b', 'c'], told: TOLD }, true],
  ['one that nobody expects', { named: ['b'], told: TOLD }, false],
  ['one too few', { named: ['b', 'c', 'e'], told: TOLD }, false],
  ['another one', { named: ['b', 'e'], told: TOLD }, false],
  ['something else that has happened', { named: ['b', 'c'], told: { id: 'a', text: /hung/ } }, false],
  ['nothing of it, as nobody looks', { named: ['b', 'c'], told: { id: 'e', text: /./ } }, false],
])('the demo takes from the doctor exactly what is expected: %s', (_, diagnosis, ok) => {
  expect(diagnosed('the doctor', FOUND, diagnosis, new Set(['d']))).toMatchObject({ ok })
})

it('the demo says what the doctor says', () => {
  expect(diagnosed('x', FOUND, { named: ['b', 'c'], told: TOLD }, new Set(['d'])).seen).toBe('b: down; c: old; a: it was killed')
  expect(diagnosed('x', [result('a', 'ok')], { named: [] })).toEqual({ name: 'x', ok: true, seen: 'all is in order' })
})
