import {
  type AuditDifference,
  auditDifferences,
  auditLab,
  auditStoppedLab,
  describeDifference,
  type Holding,
  type Lab,
} from '@cni-offload/cli'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot } from '../fixture.ts'

const PODS = ['one', 'two']

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')
const texts = (before: readonly Holding[], after: readonly Holding[]): string[] => auditDifferences(before, after).map(describeDifference)
const kinds = (differences: readonly AuditDifference[]): string[] =>
  [...new Set(differences.map(({ change, kind }) => `${change} ${kind}`))].toSorted()

describe.skipIf(needsRoot).each(['cilium', 'cilium-splice'] as const)(
  'a lab with a cilium-agent on each DPU, adapter %s (needs root for namespaces)',
  (adapter) => {
    let e2e: E2eLab
    let idle: readonly Holding[]
    const results = new Map<string, Record<string, any>>()
    const node = (): ReturnType<Lab['node']> => e2e.lab.node(1)
    const audit = (): Promise<Holding[]> => auditLab(e2e.lab, e2e.net)
    const end = async (pod: string): Promise<void> => {
      expect(await e2e.call(node(), 'DEL', pod)).toMatchObject({ exitCode: 0 })
      await e2e.lab.deletePod(pod)
    }

    beforeAll(async () => {
      e2e = await E2eLab.up({ nodes: 1, vfs: 5, pool: 4, adapter })
      idle = await audit()
      for (const pod of PODS) results.set(pod, await e2e.addPod(node(), pod))
    }, 120_000)
    afterAll(() => e2e?.[Symbol.asyncDispose]())

    const addressesOf = (pod: string): string[] => results.get(pod)!['ips'].map(({ address }: { address: string }) => plain(address))
    /** Pods whose next one in the ring does not answer at each of its addresses. */
    const silent = async (): Promise<string[]> => {
      const answers = await Promise.all(
        PODS.map(async (pod, at) => {
          const targets = addressesOf(PODS[(at + 1) % PODS.length]!)
          const got = await Promise.all(targets.map((address) => ping(e2e.lab.podPath(pod), address, { count: 1 })))
          return got.length === 2 && got.every(({ received }) => received === 1) ? [] : [pod]
        }),
      )
      return answers.flat()
    }
    const everybodyAnswers = (): Promise<void> => expect.poll(silent, { timeout: 60_000, interval: 100 }).toEqual([])

    test('pods are its endpoints, and the audit tells what it holds of them', async () => {
      await everybodyAnswers()
      const differences = auditDifferences(idle, await audit())
      expect(kinds(differences)).toEqual([
        ...['leaked address', 'leaked endpoint', 'leaked journal row', 'leaked lease', 'leaked link', 'leaked port'],
        ...['leaked queueing discipline', 'lost VF', 'lost port'],
      ])
      const found = differences.map(describeDifference)
      for (const pod of PODS) {
        expect(found).toContain(`leaked on node1: endpoint ${pod}:eth0 ready`)
        for (const ip of addressesOf(pod)) expect(found).toContain(`leaked on node1: lease ${ip} of e2e/${pod} in cilium-agent`)
        expect(await e2e.call(node(), 'CHECK', pod, { conf: { prevResult: results.get(pod) } })).toMatchObject({ exitCode: 0 })
      }
    })

    test('a pod more than it has addresses for is refused in its words, and nothing is left of it', async () => {
      const before = await audit()
      for (const pod of ['three', 'four']) await e2e.addPod(node(), pod)
      await e2e.lab.createPod('five')
      const refused = await e2e.call(node(), 'ADD', 'five')
      expect(refused).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('range is full') })
      for (const pod of ['three', 'four', 'five']) await end(pod)
      expect(texts(before, await audit())).toEqual([])
    })

    test('that is killed: pods go on, STATUS says so, and what was ended meanwhile goes when it is back', async () => {
      const before = await audit()
      await e2e.addPod(node(), 'ended')
      await e2e.lab.kill(node(), 'cilium')
      expect(await e2e.lab.running(node(), 'cilium')).toBe(false)
      expect(await silent()).toEqual([])
      expect(await e2e.call(node(), 'STATUS', '', { conf: { cniVersion: '1.1.0' } })).toMatchObject({
        exitCode: 1,
        stdout: expect.stringContaining('cilium-agent'),
      })
      await end('ended')
      await e2e.lab.start(node(), 'cilium')
      await expect.poll(async () => texts(before, await audit()), { timeout: 60_000, interval: 200 }).toEqual([])
      expect(await silent(), 'the restored endpoints').toEqual([])
      expect(await e2e.call(node(), 'STATUS', '', { conf: { cniVersion: '1.1.0' } })).toMatchObject({ exitCode: 0 })
    })

    // Without the disk nothing but the host knows what the pods have: the harder case.
    test.each(EVERYTHING ? (['kept', 'lost'] as const) : (['lost'] as const))(
      'goes with its DPU, disk %s: pods keep what they have',
      async (disk) => {
        const seenByPods = (): Promise<unknown[]> =>
          Promise.all(
            PODS.map(async (pod) => {
              const { index, mac, mtu, up } = (await e2e.net.link(e2e.lab.podPath(pod), 'eth0')) ?? {}
              return { index, mac, mtu, up, addresses: (await e2e.net.addresses(e2e.lab.podPath(pod), 'eth0')).toSorted() }
            }),
          )
        const before = await seenByPods()
        await e2e.lab.rebootDpu(node(), disk)
        await everybodyAnswers()
        expect(await seenByPods()).toEqual(before)
        for (const pod of PODS)
          expect(await e2e.call(node(), 'CHECK', pod, { conf: { prevResult: results.get(pod) } })).toMatchObject({
            exitCode: 0,
            stdout: '',
          })
      },
    )

    test('holds nothing when all pods have ended', async () => {
      for (const pod of PODS) await end(pod)
      // The router's device was made anew when the DPU booted, with another MAC.
      const made = texts(idle, await audit()).filter((text) => !/: link cilium_(host|net) |: address .* on cilium_(host|net) /.test(text))
      expect(made).toEqual([])
      const written = (await auditStoppedLab(e2e.lab, e2e.net)).filter(({ kind }) =>
        ['journal row', 'lease', 'queued clean-up', 'endpoint'].includes(kind),
      )
      expect(written).toEqual([])
    })
  },
)

test.skipIf(needsRoot)('cilium is the adapter of the first network only (needs root for namespaces)', async () => {
  await expect(E2eLab.up({ nodes: 1, adapter: 'hello', networks: [{ name: 'net1', adapter: 'cilium' }] })).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: '--network net1=cilium: Cilium gives pods their default routes and so is the first network',
  })
})
