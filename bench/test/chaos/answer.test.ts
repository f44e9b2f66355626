import { ERROR_CODES } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { parseAnswer } from '../../src/chaos/answer.ts'

const outcome = (exitCode: number | null, answer: unknown): Parameters<typeof parseAnswer>[1] => ({
  exitCode,
  stdout: answer === undefined ? '' : JSON.stringify(answer),
  stderr: '',
  json: answer as Record<string, unknown> | undefined,
})
const failure = (code: number): object => ({ cniVersion: '1.1.0', code, msg: 'text' })
const result = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/p' }],
  ips: [{ address: '10.0.0.2/24', interface: 0 }],
}

describe('answers', () => {
  test('a result is the success of ADD, no output that of all others', () => {
    expect(parseAnswer('ADD', outcome(0, result))).toEqual({ result: expect.objectContaining({ ips: result.ips }) })
    for (const verb of ['DEL', 'CHECK', 'GC']) expect(parseAnswer(verb, outcome(0, undefined))).toEqual({ result: undefined })
  })

  test.each([11, 50, 51])('code %i asks to try again, which a killed daemon explains', (code) => {
    expect(parseAnswer('ADD', outcome(1, failure(code)))).toEqual({ code })
  })

  test('all other codes are told', () => {
    const others = new Set(Object.values(ERROR_CODES).map(({ cni }) => cni))
    for (const later of [11, 50, 51]) others.delete(later)
    expect(others.size).toBeGreaterThan(10)
    for (const code of others)
      expect(parseAnswer('DEL', outcome(1, failure(code)))).toEqual({ code, problem: expect.stringMatching(/nothing explains/) })
  })

  test.each([
    ['ADD', 0, undefined],
    ['ADD', 0, { cniVersion: '1.1.0' }],
    ['ADD', 0, { ...result, ips: [{ address: 'nonsense' }] }],
    ['ADD', 1, undefined],
    ['ADD', 1, { code: 12_345, msg: 'text' }],
    ['ADD', 1, { code: '11', msg: 'text' }],
    ['DEL', null, undefined],
  ])('%s with exit status %s and %j is none that a runtime could use', (verb, exitCode, answer) => {
    expect(parseAnswer(verb, outcome(exitCode, answer))).toEqual({ code: -1, problem: expect.any(String) })
  })

  test('an output where none belongs is told', () => {
    expect(parseAnswer('DEL', outcome(0, result))).toMatchObject({ result: undefined, problem: expect.stringMatching(/output/) })
  })
})
