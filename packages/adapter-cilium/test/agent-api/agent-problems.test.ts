import { describe, expect, it } from 'vitest'
import { agentProblems } from '../../src/index.ts'

const config = { addressing: { ipv4: { enabled: true, ip: '10.0.0.1' } }, deviceMTU: 1500, 'ipam-mode': 'cluster-pool' }
const parts = (device: 'veth' | 'port' | undefined, msg: string | undefined, routing: string | undefined): string[] =>
  agentProblems(
    config,
    { cilium: { state: 'Ok', msg }, ...(routing === undefined ? {} : { routing: { 'intra-host-routing-mode': routing } }) },
    { device },
  ).map(({ part, error }) => `${part}: ${error.code} ${error.message}`)

describe('endpoints over ports', () => {
  it.each(['1.16.9', '1.17.6', '1.18.6', '1.19.4'])('are possible with %s and legacy routing only', (release) => {
    const msg = `${release} (v${release}-0fa4e000)`
    expect(parts('port', msg, 'Legacy')).toEqual([])
    expect(parts('port', msg, 'BPF')).toEqual([expect.stringMatching(/^device: INVALID_CONFIG .*intra-host-routing-mode = BPF/)])
    expect(parts('port', msg, undefined)).toEqual([expect.stringMatching(/^device: INVALID_CONFIG .*intra-host-routing-mode = unknown/)])
  })

  it.each([
    ['1.20.0 (v1.20.0-1)', '1.20.0'],
    ['1.21.3 (v1.21.3-1)', '1.21.3'],
    ['2.0.1 (v2.0.1-1)', '2.0.1'],
    ['', 'unknown'],
    [undefined, 'unknown'],
  ])('are refused where the agent says %j of its release, whatever its routing', (msg, release) => {
    for (const routing of ['Legacy', 'BPF'])
      expect(parts('port', msg, routing)).toEqual([expect.stringContaining(`device: INVALID_CONFIG cilium-agent: version = ${release}:`)])
  })

  it('are not asked for by default', () => {
    for (const device of ['veth', undefined] as const) expect(parts(device, undefined, 'BPF')).toEqual([])
  })
})
