import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRoot } from '@cni-offload/testing'
import { CILIUM_VERSIONS, FakeCiliumAgent, type FakeCiliumOptions } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { agentChecks, type AgentSubject } from '../../src/doctor/cilium/agent-checks.ts'
import * as findings from '../../src/doctor/cilium/agent-findings.ts'
import type { AgentView } from '../../src/doctor/cilium/agent-view.ts'
import { diagnose, states } from './finding.ts'

const RANGES = { ipv4: '10.66.0.0/28', ipv6: 'fd66::/124' }
const FIT = { nodeName: 'host-1', ranges: RANGES, config: { kubeProxyReplacement: true, socketLb: 'host' } } as const

let dir: string
const socket = (): string => join(dir, 'cilium.sock')

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'doctor-'))
})

afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})

const look = async (expected: AgentSubject['expected'] = { nodeName: 'host-1' }): ReturnType<typeof diagnose> =>
  await diagnose(agentChecks({ id: 'cilium', socket: socket(), expected }))

const lookAt = async (options: Partial<FakeCiliumOptions>, expected?: AgentSubject['expected']): ReturnType<typeof diagnose> => {
  await using _agent = await FakeCiliumAgent.start({ socket: socket(), ...FIT, ...options })
  return await look(expected)
}

describe('cilium-agent', { timeout: 120_000 }, () => {
  it.each(CILIUM_VERSIONS)('%s that fits is in order', async (version) => {
    const results = await lookAt({ version }, { nodeName: 'host-1', families: ['ipv4', 'ipv6'] })
    expect(Object.values(states(results))).toEqual(Object.keys(results).map(() => 'ok'))
    expect(Object.fromEntries(Object.values(results).map(({ id, seen }) => [id, seen]))).toMatchObject({
      'cilium.socket': socket(),
      'cilium.node': 'host-1',
      'cilium.version': version,
      'cilium.datapath': 'veth',
      'cilium.families': 'ipv4, ipv6',
      'cilium.mtu': 'devices 1500, routes 1450',
      'cilium.routing': 'tunnels (vxlan)',
      'cilium.socket-lb': 'for sockets of the DPU only',
    })
  })

  const wrong: readonly (readonly [string, Partial<FakeCiliumOptions>, AgentSubject['expected'], string, string])[] = [
    ['node', { nodeName: 'dpu-1' }, { nodeName: 'host-1' }, 'node = dpu-1, expected host-1', 'K8S_NODE_NAME=host-1'],
    ['datapath', { config: { datapathMode: 'netkit' } }, {}, 'datapathMode = netkit', 'bpf.datapathMode=veth'],
    ['chaining', { config: { chainingMode: 'generic-veth' } }, {}, 'generic-veth', 'cni.chainingMode=none'],
    ['ipam', { config: { ipamMode: 'eni' } }, { ownAddresses: true }, 'ipam-mode = eni', 'mode: splice'],
    ['device', { version: '1.20.2' }, { device: 'port' }, 'version = 1.20.2', 'device: veth'],
    [
      'device',
      { version: '1.19.4', config: { hostRouting: 'BPF' } },
      { device: 'port' },
      'intra-host-routing-mode = BPF',
      'bpf.hostLegacyRouting=true',
    ],
    ['families', {}, { families: ['ipv4'] }, 'enabled are ipv4 and ipv6, expected ipv4', 'families'],
    ['mtu', { config: { deviceMtu: 1200, routeMtu: 1150 } }, {}, 'IPv6 needs 1280', 'Set MTU'],
    ['socket-lb', { config: { socketLb: 'all' } }, {}, 'not translated', 'socketLB.hostNamespaceOnly=true'],
  ]
  it.each(wrong)('of which %s is wrong: with value and remedy, and the rest is looked at', async (name, options, expected, why, remedy) => {
    const results = await lookAt(options, expected)
    const { [`cilium.${name}`]: found, ...others } = results
    expect(found).toMatchObject({
      state: 'fail',
      why: expect.stringContaining(why) as string,
      remedy: expect.stringContaining(remedy) as string,
    })
    expect(Object.values(others).filter(({ state }) => state === 'fail')).toEqual([])
  })

  it('may have another IPAM where cilium-cni takes the addresses', async () => {
    const results = await lookAt({ config: { ...FIT.config, ipamMode: 'delegated-plugin' } }, { nodeName: 'host-1', ownAddresses: false })
    expect(results['cilium.ipam']).toMatchObject({ state: 'ok', seen: 'delegated-plugin' })
  })

  it('is asked for what endpoints over ports need only where they are wanted', async () => {
    const legacy = { version: '1.19.4', config: { ...FIT.config, hostRouting: 'Legacy' } } as const
    expect((await lookAt(legacy, { device: 'port' }))['cilium.device']).toMatchObject({ state: 'ok', seen: '1.19.4, host routing Legacy' })
    expect(await lookAt(legacy, { device: 'veth' })).not.toHaveProperty(['cilium.device'])
  })

  it('that is not in order itself', async () => {
    await using agent = await FakeCiliumAgent.start({ socket: socket(), ...FIT })
    agent.health = { state: 'Failure', msg: 'kvstore is away' }
    expect((await look())['cilium.state']).toMatchObject({ state: 'fail', why: 'cilium-agent: cilium is Failure: kvstore is away' })
  })

  it('that has lost the API server, or whose API is switched off', async () => {
    await using agent = await FakeCiliumAgent.start({ socket: socket(), ...FIT })
    const health = { cilium: { state: 'Ok', msg: '1.19.4' }, kubernetes: { state: 'Failure', msg: 'connection refused' } }
    agent.faults.add({ operation: 'GET /healthz', effect: { kind: 'answer', status: 200, body: health } })
    const results = await look()
    expect(results['cilium.kubernetes']).toMatchObject({
      state: 'fail',
      why: 'cilium-agent: kubernetes is Failure: connection refused',
      remedy: expect.stringContaining('cilium-dbg status') as string,
    })
    expect(results['cilium.node']).toMatchObject({ state: 'warn', seen: 'unknown' })
    agent.disabled.add('GET /config')
    expect((await look())['cilium.socket']).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('403') as string,
      remedy: expect.stringContaining('enable-cilium-api-server-access') as string,
    })
  })

  it('of which some things are to be looked at', async () => {
    const results = await lookAt({ config: { kubeProxyReplacement: false, routeMtu: 1500 } }, {})
    expect(results).toMatchObject({
      'cilium.node': { state: 'warn', seen: 'host-1', remedy: expect.stringContaining('nodeName') as string },
      'cilium.kube-proxy-replacement': {
        state: 'warn',
        seen: 'False',
        remedy: expect.stringContaining('kubeProxyReplacement=true') as string,
      },
      'cilium.socket-lb': { state: 'ok', seen: 'off: packets are translated' },
      'cilium.mtu': { state: 'warn', remedy: expect.stringContaining('Set MTU') as string },
    })
  })

  it('that is not there: why and what to do, and nothing else is said', async () => {
    const away = async (): Promise<unknown> => {
      const { 'cilium.socket': found, ...others } = await look()
      expect(new Set(Object.values(states(others)))).toEqual(new Set(['skipped']))
      return found
    }
    expect(await away()).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('ENOENT') as string,
      remedy: expect.stringContaining('--cilium-socket') as string,
    })
    await writeFile(socket(), 'no socket')
    expect(await away()).toMatchObject({ why: expect.stringMatching(/ECONNREFUSED|ENOTSOCK/) as string })
  })

  it('whose socket is left over of one that has been killed', async () => {
    await using agent = await FakeCiliumAgent.start({ socket: socket(), ...FIT })
    await agent.stop({ leaveSocket: true })
    expect((await look())['cilium.socket']).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('ECONNREFUSED') as string,
      remedy: expect.stringContaining('start cilium-agent again') as string,
    })
  })
})

describe.skipIf(!isRoot())('cilium-agent of another user (needs root: becomes another user)', { timeout: 120_000 }, () => {
  it('may not be asked: which group may is told', async () => {
    await using _agent = await FakeCiliumAgent.start({ socket: socket(), ...FIT })
    await chmod(dir, 0o755)
    await chmod(socket(), 0o600)
    process.seteuid?.(65_534)
    try {
      expect((await look())['cilium.socket']).toMatchObject({
        state: 'fail',
        why: expect.stringContaining('EACCES') as string,
        remedy: expect.stringContaining('group "cilium"') as string,
      })
    } finally {
      process.seteuid?.(0)
    }
  })
})

describe('what an agent tells', () => {
  const view = (config: object, health: object): AgentView => ({
    config: { addressing: { ipv4: { enabled: true, ip: '10.0.0.1' } }, deviceMTU: 1500, ...config },
    health: { cilium: { state: 'Ok', msg: '1.19.4 (v1.19.4-0)' }, ...health },
  })

  it('may be too little', () => {
    const little = view({}, {})
    for (const find of [findings.hostRouting, findings.routing, findings.kubeProxyReplacement, findings.socketLb, findings.encryption])
      expect(find(little)).toMatchObject({ state: 'skipped', why: 'the agent does not tell' })
    expect(findings.mtu(little)).toMatchObject({ state: 'ok', seen: 'devices 1500, routes the same' })
  })

  it.each([
    ['1.15.7', 'warn'],
    ['1.16.0', 'ok'],
    ['1.20.1', 'ok'],
    ['1.21.0', 'warn'],
    ['2.0.0', 'warn'],
    ['a build', 'warn'],
  ])('of its release, %s: %s', (release, state) => {
    expect(findings.version(view({}, { cilium: { state: 'Ok', msg: release } }))).toMatchObject({ state })
  })

  it('of its encryption', () => {
    expect(findings.encryption(view({}, { encryption: { mode: 'IPsec' } }))).toMatchObject({ state: 'ok', seen: 'IPsec' })
    expect(findings.encryption(view({}, { encryption: { mode: 'Disabled', msg: 'no key' } }))).toMatchObject({
      state: 'warn',
      why: 'no key',
    })
  })
})
