import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AttachRequest, type OpContext, silentLogger, systemClock } from '@cni-offload/sdk'
import { FakeCiliumAgent, type FakeCiliumOptions } from '@cni-offload/testing/cilium'
import { describe, expect, it } from 'vitest'
import { cilium, ciliumOptions, type CiliumOptionsInput } from '../src/index.ts'

const ctx = (): OpContext => ({ signal: AbortSignal.timeout(25_000), log: silentLogger })
const RANGES = { ipv4: '10.66.0.0/28', ipv6: 'fd66::/124' }
const REQUEST: AttachRequest = {
  key: { network: 'podnet', containerId: 'c1', ifName: 'eth0' },
  pod: { namespace: 'default', name: 'pod-1', uid: 'u1' },
  port: { vf: { device: 'none', index: 0 }, name: 'none0' },
  vfMac: '02:00:00:00:00:01',
  netconf: {},
  runtimeConfig: {},
  cniArgs: {},
  flags: { ipsec: false },
}

describe('an agent that pods cannot be given to', () => {
  const cases: readonly (readonly [string, Partial<FakeCiliumOptions>, CiliumOptionsInput, string, string])[] = [
    ['has another datapath', { config: { datapathMode: 'netkit' } }, {}, 'datapathMode = netkit', 'bpf.datapathMode=veth'],
    ['only adds to another CNI', { config: { chainingMode: 'generic-veth' } }, {}, 'generic-veth', 'cni.chainingMode=none'],
    ['has addresses from a cloud', { config: { ipamMode: 'eni' } }, {}, 'ipam-mode = eni', 'mode: splice'],
    [
      'believes to be on another node',
      { nodeName: 'dpu-1' },
      { nodeName: 'host-1' },
      'node = dpu-1, expected host-1',
      'K8S_NODE_NAME=host-1',
    ],
    ['has IPv6, which is not expected', { ranges: RANGES }, { families: ['ipv4'] }, 'enabled are ipv4 and ipv6, expected ipv4', 'families'],
    [
      'has no IPv6, which is expected',
      { ranges: { ipv4: '10.66.0.0/28' } },
      { families: ['ipv6', 'ipv4'] },
      'enabled are ipv4, expected',
      'ipv6.enabled',
    ],
    ['has no family at all', { ranges: {} }, {}, 'neither IPv4 nor IPv6', 'ipv4.enabled'],
  ]
  it.each(cases)('because it %s: told by value and remedy, and no address is taken', async (_title, options, more, message, hint) => {
    const folder = await mkdtemp(join(tmpdir(), 'cilium-'))
    const agent = await FakeCiliumAgent.start({ socket: join(folder, 'cilium.sock'), ...options })
    const deps = { log: silentLogger, clock: systemClock, stateDir: folder }
    const adapter = await cilium({ mode: 'agent-api', socket: agent.socket, ...more }).create(deps)
    try {
      const failure = { message: expect.stringContaining(message), hint: expect.stringContaining(hint) }
      await expect(adapter.attach(REQUEST, ctx())).rejects.toMatchObject({ code: 'INVALID_CONFIG', ...failure })
      await expect(adapter.status(ctx())).rejects.toMatchObject({ code: 'NOT_READY', ...failure })
      await adapter.start?.([], ctx())
      expect([agent.count('POST /ipam'), agent.allocations]).toEqual([0, {}])
    } finally {
      await adapter[Symbol.asyncDispose]?.()
      await agent[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    }
  })
})

describe('options', () => {
  it('have the defaults of cilium-cni, and say what is wrong with them', () => {
    expect(ciliumOptions.parse({})).toMatchObject({ socket: '/var/run/cilium/cilium.sock', requestTimeoutMs: 90_000, proxyPrefix: 'px' })
    for (const wrong of [
      { socket: 'cilium.sock' },
      { families: [] },
      { requestTimeoutMs: 1 },
      { proxyPrefix: '/' },
      { nodeName: '' },
      { other: 1 },
    ])
      expect(() => cilium(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining('"cilium"') }))
  })
})
