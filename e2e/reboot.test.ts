import { readFile } from 'node:fs/promises'
import { LAB_ADAPTERS } from '@cni-offload/cli'
import { systemClock } from '@cni-offload/sdk'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot, NOTHING_HELD } from './fixture.ts'

const PODS = 16
/** With cilium, e2e/cilium shows it for a few pods; hello's tests show what it keeps. */
const ADAPTERS = EVERYTHING ? LAB_ADAPTERS : (['delegate'] as const)

interface Running {
  readonly pod: string
  readonly result: Record<string, any>
}

const addresses = ({ result }: Running): string[] => result['ips'].map(({ address }: { address: string }) => address)

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

describe.skipIf(needsRoot).each(ADAPTERS)('a DPU that reboots under running pods, adapter %s (needs root for namespaces)', (adapter) => {
  let e2e: E2eLab
  let pods: Running[]

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 1, vfs: PODS + 1, adapter })
    const names = Array.from({ length: PODS }, (_, i) => `r${i}`)
    pods = await Promise.all(names.map(async (pod) => ({ pod, result: await e2e.addPod(e2e.lab.node(1), pod) })))
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  /** What a pod must not see changing: namespace, interface, addresses, routes. */
  const seenByPod = async ({ pod }: Running): Promise<object> => {
    const path = e2e.lab.podPath(pod)
    const { name, index, mac, mtu, up } = (await e2e.net.link(path, 'eth0')) ?? {}
    return {
      netns: await e2e.net.netnsIdentity(path),
      link: { name, index, mac, mtu, up },
      addresses: (await e2e.net.addresses(path, 'eth0')).toSorted(),
      routes: (await e2e.net.routes(path, 'eth0')).map(({ dst, gw }) => `${dst} ${gw}`).toSorted(),
    }
  }

  /** Pods whose next one in the ring does not answer, in either family. */
  const silent = async (): Promise<string[]> => {
    const answers = await Promise.all(
      pods.map(async ({ pod }, at) => {
        const other = pods[(at + 1) % pods.length]!
        const got = await Promise.all(
          other.result.ips.map(({ address }: { address: string }) => ping(e2e.lab.podPath(pod), plain(address), { count: 1 })),
        )
        return got.length === 2 && got.every(({ received }) => received === 1) ? [] : [pod]
      }),
    )
    return answers.flat()
  }

  /** A pod that a runtime makes meanwhile: it tries until it succeeds. */
  const newPod = async (pod: string): Promise<Running> => {
    await e2e.lab.createPod(pod)
    const end = systemClock.monotonic() + 60_000
    for (;;) {
      const { exitCode, json, stdout } = await e2e.call(e2e.lab.node(1), 'ADD', pod)
      if (exitCode === 0) return { pod, result: json as Record<string, any> }
      if (systemClock.monotonic() > end) throw new Error(`ADD ${pod}: ${stdout}`)
    }
  }

  // Without the disk nothing but the host knows what the pods have: the harder case.
  test.each(EVERYTHING || adapter === 'delegate' ? (['kept', 'lost'] as const) : (['lost'] as const))(
    'all pods go on with their addresses, disk of the DPU %s',
    async (disk) => {
      const node = e2e.lab.node(1)
      await expect.poll(silent, { timeout: 30_000, interval: 100 }).toEqual([])
      const before = await Promise.all(pods.map(seenByPod))
      const hostPid = node.host.pid
      const began = systemClock.monotonic()
      const [bootMs, newcomer] = await Promise.all([e2e.lab.rebootDpu(node, disk), newPod(`new-${disk}`)])
      await expect.poll(silent, { timeout: 60_000, interval: 100 }).toEqual([])
      const tookMs = systemClock.monotonic() - began
      console.log(`${adapter}, disk ${disk}: agent back after ${Math.round(bootMs)} ms, all ${PODS} pods after ${Math.round(tookMs)} ms`)
      expect(await Promise.all(pods.map(seenByPod))).toEqual(before)
      expect(node.host.pid).toBe(hostPid)
      expect(await e2e.lab.running(node, 'host')).toBe(true)
      expect(new Set([newcomer, ...pods].flatMap(addresses)).size, 'addresses of all pods').toBe(2 * (PODS + 1))
      expect(await e2e.call(node, 'DEL', newcomer.pod)).toMatchObject({ exitCode: 0 })
      const log = await readFile(node.host.log, 'utf8')
      expect(log).not.toContain('gave a running pod another address')
      for (const { pod, result } of pods.slice(0, 2))
        expect(await e2e.call(node, 'CHECK', pod, { conf: { prevResult: result } })).toMatchObject({ exitCode: 0, stdout: '' })
      expect(await e2e.held(node)).toEqual({ attachments: PODS, leases: PODS, agentAttachments: PODS, vfsAway: PODS })
    },
    120_000,
  )

  test('and leave nothing when they end', async () => {
    const node = e2e.lab.node(1)
    for (const outcome of await Promise.all(pods.map(({ pod }) => e2e.call(node, 'DEL', pod))))
      expect(outcome).toMatchObject({ exitCode: 0 })
    await expect.poll(() => e2e.held(node), { timeout: 30_000, interval: 100 }).toEqual(NOTHING_HELD)
  })
})
