import { formatAttachmentKey } from '@cni-offload/sdk'
import { type CallFault, randomFaults, scriptedFaults, seededRandom } from '@cni-offload/testing/faults'
import type { FakePod } from '@cni-offload/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { needsRoot } from '../fixture.ts'
import { NodeInProcess } from './node-in-process.ts'

const PODS = 4
const ROUNDS = 4
const LIMIT = { timeout: 60_000, interval: 50 }

/** Nobody waits long for an answer that does not come. */
const IMPATIENT = { hostLimits: { addMs: 1_500, undoMs: 1_500, agentMs: 1_000 } }

const ALL_FAULTS: readonly CallFault[] = [
  { kind: 'request-lost' },
  { kind: 'reply-lost' },
  { kind: 'request-lost', silent: true },
  { kind: 'reply-lost', silent: true },
  { kind: 'delayed', ms: 30 },
  { kind: 'overtaken' },
  { kind: 'duplicated' },
  { kind: 'repeated' },
]

describe.skipIf(needsRoot)('calls between host and agent that get lost, come late or twice (needs root for namespaces)', () => {
  let node: NodeInProcess

  beforeAll(async () => {
    node = await NodeInProcess.up({ ...IMPATIENT, vfs: PODS })
  })
  afterEach(async () => {
    node.way.use(() => undefined)
    await node.way.settled()
    await expect.poll(() => node.remains(), LIMIT).toEqual([])
  })
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  test.each<CallFault>([{ kind: 'request-lost' }, { kind: 'reply-lost' }, { kind: 'reply-lost', silent: true }])(
    'an Attach with $kind (silent: $silent) fails and leaves nothing, and works when it is tried again',
    async (fault) => {
      node.way.use(scriptedFaults({ attach: [fault] }))
      await using pod = await node.pod('p')
      expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 1, json: { code: 11 } })
      await expect.poll(() => node.remains(), LIMIT).toEqual([])
      expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
      expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    },
  )

  test('an Attach that comes twice at the same time makes one attachment', async () => {
    node.way.use(scriptedFaults({ attach: [{ kind: 'duplicated' }] }))
    await using pod = await node.pod('p')
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    await node.way.settled()
    expect(await node.held()).toEqual([formatAttachmentKey(pod.key('podnet'))])
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  test('an Attach that comes again after the Detach is ended by the next resync', async () => {
    await using pod = await node.pod('p')
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    const [{ request } = {}] = await node.way.api.list({ signal: AbortSignal.timeout(20_000) })
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    // The very call that was made.
    await node.way.api.attach(request!, { signal: AbortSignal.timeout(20_000) })
    await node.resyncs(1)
    expect(await node.held()).toEqual([])
  })

  test.each<CallFault>([{ kind: 'request-lost' }, { kind: 'reply-lost' }, { kind: 'request-lost', silent: true }])(
    'a Detach with $kind (silent: $silent): DEL succeeds, nobody gets the VF before the agent has confirmed',
    async (fault) => {
      await using pod = await node.pod('p')
      expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
      const { vf } = (await node.inspect()).attachments[0]!
      let looked = false
      node.way.use(({ method }) => (method === 'detach' && !looked ? fault : undefined))
      expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
      const { leases } = await node.inspect()
      expect(leases.find((lease) => lease.vf === vf)?.state).toBe('quarantined')
      looked = true
      const leased = async (): Promise<string | undefined> => (await node.inspect()).leases.find((lease) => lease.vf === vf)?.state
      await expect.poll(leased, LIMIT).toBe('free')
    },
  )

  test.each([1, 2])('anything may happen to every second call, seed %d', async (seed) => {
    node.way.use(randomFaults(seededRandom(seed), { oneIn: 2, faults: ALL_FAULTS }))
    const before = node.way.injected.length
    await using stack = new AsyncDisposableStack()
    const pods: FakePod[] = []
    for (let i = 0; i < PODS; i++) pods.push(stack.use(await node.pod(`p${i}`)))
    const owners = new Map<string, string>()
    const life = async (pod: FakePod): Promise<void> => {
      for (let round = 0; round < ROUNDS; round++) {
        const { exitCode, json } = await node.call('ADD', pod)
        const ips = exitCode === 0 ? (json['ips'] as { address: string }[]).map(({ address }) => address) : []
        for (const ip of ips) {
          expect(owners.get(ip), `${ip} of ${pod.identity.name}`).toBeUndefined()
          owners.set(ip, pod.identity.name)
        }
        // The others go on meanwhile.
        for (let i = 0; i < 5; i++) await node.inspect()
        for (const ip of ips) owners.delete(ip)
        expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
      }
    }
    await Promise.all(pods.map(life))
    expect(node.way.injected.length).toBeGreaterThan(before)
    node.way.use(() => undefined)
    for (const pod of pods) await expect.poll(async () => (await node.call('ADD', pod)).exitCode, LIMIT).toBe(0)
    for (const pod of pods) expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  test.each<CallFault>([{ kind: 'request-lost' }, { kind: 'reply-lost' }])('a resync with $kind is repeated', async (fault) => {
    await using pod = await node.pod('p')
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    const repeated = Promise.withResolvers<void>()
    node.way.use(({ method, occurrence }) => {
      if (method === 'resync' && occurrence > 2) repeated.resolve()
      return method === 'resync' && occurrence <= 2 ? fault : undefined
    })
    await repeated.promise
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })
})
