import type { AttachCall } from '@cni-offload/protocol'
import { describe, expect, test } from 'vitest'
import { resolveWishes } from '../../src/service/wishes.ts'
import { call } from '../support/bench.ts'
import { FakeAdapter, FakeNetwork } from '../support/fakes.ts'

const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'] as const

const adapter = (...runtimeConfig: string[]): FakeAdapter => new FakeAdapter(new FakeNetwork(), { runtimeConfig })

const asking = (by: { config?: object; args?: object; cniArgs?: Record<string, string> }): AttachCall =>
  call('a', 0, {
    runtimeConfig: { ...by.config },
    netconf: { name: 'podnet', ...(by.args === undefined ? {} : { args: { cni: by.args, other: 1 } }) },
    cniArgs: { K8S_POD_NAME: 'web', ...by.cniArgs },
  })

describe('what is asked for in several places', () => {
  test('a capability overrules args.cni, which overrules CNI_ARGS; what counts becomes the capability', () => {
    const config = { mac: MACS[0] }
    const args = { mac: MACS[1], labels: [] }
    const cniArgs = { MAC: MACS[2] }
    const honouring = adapter('mac')
    for (const [by, mac] of [
      [{ config, args, cniArgs }, MACS[0]],
      [{ args, cniArgs }, MACS[1]],
      [{ cniArgs }, MACS[2]],
    ] as const) {
      const before = asking(by)
      const resolved = resolveWishes(before, honouring)
      expect(resolved.runtimeConfig).toEqual({ mac })
      expect(resolved.cniArgs).toEqual({ K8S_POD_NAME: 'web' })
      expect(resolved.netconf['args']).toEqual('args' in by ? { cni: { labels: [] }, other: 1 } : before.netconf['args'])
    }
  })

  test('addresses of CNI_ARGS are a list with commas', () => {
    const { runtimeConfig } = resolveWishes(asking({ cniArgs: { IP: '10.0.0.9/24,fd00::9' } }), adapter('ips'))
    expect(runtimeConfig).toEqual({ ips: ['10.0.0.9/24', 'fd00::9'] })
  })

  test('where the adapter honours none, arguments stay for whom they are meant, but only the strongest', () => {
    const plain = adapter()
    expect(resolveWishes(asking({ args: { ips: ['10.0.0.8'] }, cniArgs: { IP: '10.0.0.9' } }), plain)).toMatchObject({
      runtimeConfig: {},
      netconf: { args: { cni: { ips: ['10.0.0.8'] } } },
      cniArgs: { K8S_POD_NAME: 'web' },
    })
    const alone = asking({ cniArgs: { IP: 'not an address', MAC: '' } })
    expect(resolveWishes(alone, plain)).toEqual(alone)
  })

  test('nothing asked for, nothing changed', () => {
    for (const by of [{}, { args: { ips: [], mac: '' } }, { config: { ips: null } }]) {
      const before = asking(by)
      expect(resolveWishes(before, adapter()).netconf).toEqual(before.netconf)
      expect(resolveWishes(before, adapter('mac', 'ips')).runtimeConfig).toEqual(before.runtimeConfig)
    }
  })

  test.each([
    [{ args: { mac: 'here' } }, 'INVALID_NETCONF', 'args.cni.mac'],
    [{ args: { ips: '10.0.0.9' } }, 'INVALID_NETCONF', 'args.cni.ips'],
    [{ cniArgs: { IP: '10.0.0.900' } }, 'INVALID_ENVIRONMENT', 'CNI_ARGS: IP'],
    [{ cniArgs: { MAC: 'x' } }, 'INVALID_ENVIRONMENT', 'CNI_ARGS: MAC'],
  ])('%j is refused where it would be honoured', (by, code, where) => {
    expect(() => resolveWishes(asking(by), adapter('mac', 'ips'))).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(where) as string }) as Error,
    )
  })
})
