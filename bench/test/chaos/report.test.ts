import { describe, expect, test } from 'vitest'
import { type ChaosReport, defectsOf, isClean, jsonReport, renderReport } from '../../src/chaos/report.ts'
import { Tally } from '../../src/chaos/tally.ts'

const report = (more: Partial<ChaosReport> = {}, disturb: (tally: Tally) => void = () => {}): ChaosReport => {
  const tally = new Tally()
  tally.kills.host = 3
  tally.kills.shim = 1
  tally.startMs.host.push(100, 200, 300)
  Object.assign(tally.verb('ADD'), { ok: 20, killed: 1, ms: [40, 50, 60] })
  tally.verb('ADD').refused.set(11, 7)
  tally.survivors.asked = 8
  tally.survivors.answered = 8
  disturb(tally)
  return { seed: 7, ways: 32, nodes: 2, adapter: 'hello', seconds: 10, tally, doubleLeases: [], leaks: [], ...more }
}

describe('report', () => {
  test('is clean when nothing has happened that must not', () => {
    expect(isClean(report())).toBe(true)
    expect(renderReport(report()).split('\n')).toEqual([
      'seed 7, adapter hello, 32 workers on 2 node(s), 10 s',
      'killed by SIGKILL: 4 (host 3, agent 0, both 0, shim 1)',
      '  host  serves again after p50 200 ms, p99 300 ms',
      '  ADD   20 succeeded, 1 killed, 7 × code 11; p50 50 ms, 2.0 per second',
      '  pods that ran through all of it answered 8 of 8 echo requests',
      '',
      'leaks                 0',
      'double leases         0',
      'lost DELs             0',
      'unexpected answers    0',
      'pods without network  0',
    ])
  })

  const defects: readonly (readonly [string, string, ChaosReport])[] = [
    [
      'leaks',
      'leaked on node1: lease 10.244.1.7',
      report({ leaks: [{ change: 'leaked', node: 'node1', kind: 'lease', what: '10.244.1.7' }] }),
    ],
    ['double leases', 'VF 1 of a was also given to b', report({ doubleLeases: [{ what: 'VF 1', owner: 'a', second: 'b' }] })],
    ['lost DELs', 'w1', report({}, (tally) => tally.defects.lostDels.push('w1'))],
    ['unexpected answers', 'no JSON', report({}, (tally) => tally.defects.unexpected.push('no JSON'))],
    ['pods without network', 's1', report({}, (tally) => tally.defects.silent.push('s1'))],
  ]

  test.each(defects)('%s make it unclean, and are shown', (name, text, found) => {
    expect(isClean(found)).toBe(false)
    expect(defectsOf(found)).toMatchObject({ [name]: [text] })
    const lines = renderReport(found).split('\n')
    expect(lines).toContain(`${name.padEnd(22)}1`)
    expect(lines).toContain(`  ${text}`)
    expect(jsonReport(found)).toMatchObject({ defects: { [name]: [text] } })
  })

  test('tells programs the same', () => {
    expect(JSON.parse(JSON.stringify(jsonReport(report())))).toMatchObject({
      seed: 7,
      kills: { host: 3, shim: 1 },
      calls: { ADD: { ok: 20, killed: 1, refused: { 11: 7 }, ms: { p50: 50 } } },
      survivors: { asked: 8, answered: 8 },
    })
  })
})
