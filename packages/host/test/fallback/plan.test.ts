import { OffloadError } from '@cni-offload/sdk'
import { parseNetconf } from '@cni-offload/sdk/cni'
import { pluginList } from '@cni-offload/sdk/exec'
import { describe, expect, it } from 'vitest'
import { fallbackConfig, type FallbackTrigger } from '../../src/fallback/config.ts'
import { decide } from '../../src/fallback/decide.ts'
import { NETWORK_ANNOTATION, planFallback, refuseUndeclared } from '../../src/fallback/plan.ts'

const NODE = { cniVersion: '1.0.0' as const, name: 'node', plugins: [{ type: 'bridge' }] }
const OWN = { cniVersion: '1.0.0' as const, name: 'own', plugins: [{ type: 'ptp' }] }
const signal = new AbortController().signal

const config = (when?: readonly FallbackTrigger[]) => fallbackConfig.parse({ conflist: NODE, ...(when === undefined ? {} : { when }) })
const netconf = (more: object = {}) =>
  parseNetconf(
    JSON.stringify({
      ...{ cniVersion: '1.1.0', name: 'net', type: 'offload-cni', capabilities: { 'io.kubernetes.cri.pod-annotations': true } },
      ...more,
    }),
    'ADD',
  )
const annotated = (value: unknown, more: object = {}) =>
  netconf({ runtimeConfig: { 'io.kubernetes.cri.pod-annotations': { [NETWORK_ANNOTATION]: value, other: 'x' } }, ...more })

describe('planFallback', () => {
  it('is nothing where nothing is configured, whatever the pod says', () => {
    expect(planFallback(undefined, netconf())).toBeUndefined()
    expect(planFallback(undefined, annotated('host'))).toBeUndefined()
    expect(planFallback(undefined, annotated('nonsense'))).toBeUndefined()
  })

  it('lets pods ask by annotation unless the operator says otherwise', () => {
    expect(planFallback(config(), netconf())).toEqual({ list: expect.objectContaining({ name: 'node' }), when: new Set(['annotation']) })
    expect(planFallback(config(), annotated('host'))).toMatchObject({ asked: 'annotation' })
    expect(planFallback(config(), annotated('offload'))).not.toHaveProperty('asked')
    expect(planFallback(config(), annotated(undefined))).not.toHaveProperty('asked')
    const none = netconf({ runtimeConfig: { 'io.kubernetes.cri.pod-annotations': null } })
    expect(planFallback(config(), none), 'containerd sends null').not.toHaveProperty('asked')
  })

  it.each(['Host', '', 'none', true, 7])('refuses the annotation %j', (value) => {
    expect(() => planFallback(config(), annotated(value))).toThrow(
      expect.objectContaining({
        code: 'INVALID_NETCONF',
        message: `annotation cni-offload.io/network = ${JSON.stringify(value)}: expected "offload" or "host"`,
      }),
    )
  })

  it('refuses to opt out where pods may not', () => {
    expect(() => planFallback(config(['dpu-down']), annotated('host'))).toThrow(
      expect.objectContaining({ code: 'INVALID_NETCONF', message: expect.stringContaining('does not let pods choose') }),
    )
  })

  it('takes the netconf before the node: its list, its triggers, its word', () => {
    expect(planFallback(config(), netconf({ offload: false }))).toMatchObject({ asked: 'netconf', list: { name: 'node' } })
    expect(planFallback(config(), netconf({ offload: true, fallback: { conflist: OWN, when: ['dpu-down'] } }))).toEqual({
      list: expect.objectContaining({ name: 'own' }),
      when: new Set(['dpu-down']),
    })
    expect(planFallback(config(['dpu-down']), netconf({ fallback: { when: [] } }))).toMatchObject({ when: new Set() })
    expect(planFallback(undefined, netconf({ offload: false, fallback: { conflist: OWN } }))).toMatchObject({ asked: 'netconf' })
  })

  it.each([
    ['offload without a list', { offload: false }, /offload = false: there is no plugin list/],
    ['triggers without a list', { fallback: { when: ['dpu-down'] } }, /fallback: there is no plugin list/],
    ['a flag that is a text', { offload: 'no' }, /offload = "no"/],
    ['an unknown trigger', { fallback: { conflist: OWN, when: ['always'] } }, /fallback\.when\.0 = "always"/],
    ['folders, which only the node says', { fallback: { conflist: OWN, binDirs: ['/tmp'] } }, /binDirs/],
    ['an empty list', { fallback: { conflist: { cniVersion: '1.0.0', plugins: [] } } }, /fallback\.conflist\.plugins/],
  ])('refuses %s', (_what, fields, message) => {
    expect(() => planFallback(undefined, netconf(fields))).toThrow(
      expect.objectContaining({ code: 'INVALID_NETCONF', message: expect.stringMatching(message) }),
    )
  })

  it.each([{ vlan: 7 }, { ipsec: true }])('does not put a pod with %j onto the node-wide list', (fields) => {
    expect(planFallback(config(['dpu-down', 'no-free-vf']), netconf(fields))).toMatchObject({ when: new Set() })
    expect(() => planFallback(config(), annotated('host', fields))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_FIELD' }))
    expect(planFallback(undefined, netconf({ ...fields, offload: false, fallback: { conflist: OWN } }))).toMatchObject({ asked: 'netconf' })
  })

  it('does not replace the VF that a device plugin has promised', () => {
    const plan = planFallback(config(['dpu-down', 'no-free-vf']), netconf({ runtimeConfig: { deviceID: '0000:01:00.1' } }))
    expect(plan).toMatchObject({ when: new Set(['dpu-down']) })
  })
})

describe('refuseUndeclared', () => {
  const list = pluginList.parse({ cniVersion: '1.0.0', plugins: [{ type: 'portmap', capabilities: { portMappings: true } }] })

  it('lets pass what is declared, empty or asks for nothing', () => {
    const annotations = { 'io.kubernetes.cri.pod-annotations': { a: 'b' }, bandwidth: {}, ips: [], deviceID: 'x' }
    expect(() => refuseUndeclared(list, { portMappings: [{ hostPort: 1 }], ...annotations })).not.toThrow()
  })

  it('names what would be missing', () => {
    expect(() => refuseUndeclared(list, { bandwidth: { ingressRate: 5, ingressBurst: 5 } })).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_FIELD', message: expect.stringMatching(/runtimeConfig\.bandwidth = .*ingressRate/) }),
    )
  })
})

describe('decide', () => {
  const away = new OffloadError('AGENT_UNREACHABLE', 'the agent is away')
  const full = new OffloadError('NO_FREE_VF', 'no VF is free')
  const steps = (fails: { ready?: Error; lease?: Error } = {}) => {
    const calls: string[] = []
    const step = (name: 'ready' | 'lease') => async () => {
      calls.push(name)
      if (fails[name] !== undefined) throw fails[name]
      return name
    }
    return { calls, ready: async () => void (await step('ready')()), lease: step('lease') }
  }

  it('offloads, where it can be done', async () => {
    for (const plan of [undefined, planFallback(config(['dpu-down', 'no-free-vf']), netconf())])
      expect(await decide(plan, steps(), signal)).toEqual({ offloaded: 'lease' })
  })

  it('takes no VF for a pod that opted out, and does not wait for the agent', async () => {
    const tried = steps()
    expect(await decide(planFallback(config(), annotated('host')), tried, signal)).toMatchObject({ reason: 'annotation' })
    expect(tried.calls).toEqual([])
  })

  it.each(['AGENT_UNREACHABLE', 'INCOMPATIBLE_PEER', 'PERMISSION_DENIED'] as const)('takes %s for a DPU that is down', async (code) => {
    const cause = new OffloadError(code, 'x')
    const tried = steps({ ready: cause })
    expect(await decide(planFallback(config(['dpu-down']), netconf()), tried, signal)).toMatchObject({ reason: 'dpu-down', cause })
    expect(tried.calls, 'no VF is leased').toEqual(['ready'])
    for (const plan of [undefined, planFallback(config(['annotation', 'no-free-vf']), netconf())])
      await expect(decide(plan, steps({ ready: cause }), signal)).rejects.toBe(cause)
  })

  it('does not take a caller that gave up for a DPU that is down', async () => {
    const plan = planFallback(config(['dpu-down']), netconf())
    await expect(decide(plan, steps({ ready: away }), AbortSignal.abort())).rejects.toBe(away)
  })

  it('falls back without a free VF only where that is configured, and on no other failure of the lease', async () => {
    expect(await decide(planFallback(config(['no-free-vf']), netconf()), steps({ lease: full }), signal)).toMatchObject({
      reason: 'no-free-vf',
    })
    await expect(decide(planFallback(config(['dpu-down']), netconf()), steps({ lease: full }), signal)).rejects.toBe(full)
    const broken = new OffloadError('JOURNAL_FAILURE', 'x')
    await expect(decide(planFallback(config(['no-free-vf']), netconf()), steps({ lease: broken }), signal)).rejects.toBe(broken)
  })
})
