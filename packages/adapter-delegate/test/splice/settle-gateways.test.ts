import type { Clock } from '@cni-offload/sdk'
import { ping, wirePod } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { settleGateways } from '../../src/index.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from '../lab.ts'

/** A clock that runs only while somebody sleeps. */
const sleepingClock = (): Clock => {
  let now = 0
  return {
    now: () => now,
    monotonic: () => now,
    sleep: async (ms, signal) => {
      signal.throwIfAborted()
      now += ms
      await Promise.resolve()
    },
  }
}

const pod = {
  ips: [
    { address: 'fd77::2/64', gateway: 'FD77:0::1' },
    { address: '10.0.0.2/24', gateway: '10.0.0.1' },
  ],
  routes: [{ dst: '::/0', gw: 'fe80::1' }],
}

describe('settleGateways', () => {
  /** Answers of the kernel, one after the other; the last one stays. */
  const settle = async (answers: readonly (readonly string[])[], signal = ctx().signal, what = pod): Promise<[string[], number]> => {
    let asked = 0
    const net = { tentativeAddresses: () => Promise.resolve([...(answers[Math.min(asked++, answers.length - 1)] ?? [])]) }
    return [await settleGateways({ net, netns: '/run/netns/x', clock: sleepingClock() }, what, signal), asked]
  }

  it('waits for gateways of addresses and of routes, however they are written', async () => {
    expect(await settle([['fd77::1/64', 'fe80::1/64'], ['fe80::1/64'], ['fe80::1/64'], []])).toEqual([[], 4])
  })

  it('does not wait for addresses that are no gateways', async () => {
    expect(await settle([['fd77::9/64', 'fe80::2/64']])).toEqual([[], 1])
  })

  it('does not even ask where there is no IPv6 gateway', async () => {
    expect(await settle([['fd77::1/64']], undefined, { ips: pod.ips.slice(1), routes: [] })).toEqual([[], 0])
  })

  it('gives up after 3 s and says for what', async () => {
    expect(await settle([['fd77::1/64']])).toEqual([['fd77::1'], 61])
  })

  it('ends with the signal', async () => {
    await expect(settle([['fd77::1/64']], AbortSignal.abort())).rejects.toMatchObject({
      code: 'CANCELLED',
      message: expect.stringContaining('fd77::1'),
    })
  })
})

describe.skipIf(!isRoot)(`a DPU with duplicate address detection ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(2, true)
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  it.each(['bridge', 'ptp'])('gateways that %s has just made answer when attach resolves', async (type) => {
    await lab.start([type === 'ptp' ? { type, ipam: lab.hostLocal() } : lab.bridge()])
    const results = await Promise.all([0, 1].map((index) => lab.adapter.attach(lab.request(index), ctx())))
    expect(await lab.net.tentativeAddresses(lab.bench.dpuNetns)).not.toContainEqual(expect.stringMatching(/^fd77::1\//))
    for (const [index, result] of results.entries()) {
      const { path } = lab.at(index).pod
      await wirePod(lab.net, path, 'eth0', result)
      expect(await ping(path, 'fd77::1')).toEqual({ sent: 3, received: 3 })
    }
  })
})
