import { formatAttachmentKey } from '@cni-offload/sdk'
import { type AdapterLie, lyingAdapter, slowAdapter, type Slowness, STRANGER, wrapAdapter } from '@cni-offload/testing/faults'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { needsRoot } from '../fixture.ts'
import { NodeInProcess } from './node-in-process.ts'

const LIMIT = { timeout: 60_000, interval: 50 }

describe.skipIf(needsRoot)('an adapter that lies (needs root for namespaces)', () => {
  let node: NodeInProcess
  let lies: Set<AdapterLie>

  beforeAll(async () => {
    node = await NodeInProcess.up({
      adapter: (adapter) => {
        const lying = lyingAdapter(adapter)
        lies = lying.lies
        return lying.adapter
      },
    })
  })
  afterEach(async () => {
    lies.clear()
    await expect.poll(() => node.remains(), LIMIT).toEqual([])
  })
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  test('answers nonsense: the ADD fails, naming the adapter, and nothing is left', async () => {
    lies.add('answers-nonsense')
    await using pod = await node.pod('p')
    const failed = await node.call('ADD', pod)
    expect(failed).toMatchObject({ exitCode: 1, json: { code: 102 } })
    expect(failed.json['msg']).toContain('adapter "hello"')
    await expect.poll(() => node.remains(), LIMIT).toEqual([])
    lies.clear()
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  test('attaches nothing: CHECK tells, and once it is honest the pod gets its network with the addresses that it was told', async () => {
    await using first = await node.pod('first')
    await using second = await node.pod('second')
    expect(await node.call('ADD', first)).toMatchObject({ exitCode: 0 })
    lies.add('attach-does-nothing')
    const { exitCode, json } = await node.call('ADD', second)
    expect(exitCode).toBe(0)
    expect(await node.call('CHECK', second, { prevResult: json })).toMatchObject({ exitCode: 1, json: { code: 101 } })
    lies.clear()
    await expect.poll(async () => (await node.call('CHECK', second, { prevResult: json })).exitCode, LIMIT).toBe(0)
    expect((await node.held()).length).toBe(2)
    for (const pod of [first, second]) expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  test('detaches nothing: DEL succeeds, and it is told again until it does', async () => {
    lies.add('detach-does-nothing')
    await using pod = await node.pod('p')
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect(await node.held()).toHaveLength(1)
  })

  test.each<AdapterLie>(['lists-strangers', 'lists-nothing'])('%s: running pods keep their addresses, ADD and DEL work', async (lie) => {
    lies.add(lie)
    await using pod = await node.pod('p')
    const { json } = await node.call('ADD', pod)
    const before = await node.net.addresses(pod.path, 'eth0')
    await node.resyncs(3)
    expect(await node.net.addresses(pod.path, 'eth0')).toEqual(before)
    expect(await node.call('CHECK', pod, { prevResult: json })).toMatchObject({ exitCode: 0 })
    expect(await node.held()).not.toContain(formatAttachmentKey(STRANGER))
    await using other = await node.pod('other')
    expect(await node.call('ADD', other)).toMatchObject({ exitCode: 0 })
    for (const each of [pod, other]) expect(await node.call('DEL', each)).toMatchObject({ exitCode: 0 })
  })

  test('gives a running pod other addresses when it is asked again: the pod keeps what it has', async () => {
    await using pod = await node.pod('p')
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    lies.add('repeats-differently')
    lies.add('lists-nothing')
    const before = await node.net.addresses(pod.path, 'eth0')
    await node.resyncs(3)
    expect(await node.net.addresses(pod.path, 'eth0')).toEqual(before)
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })
})

describe.skipIf(needsRoot)('an adapter that is slow (needs root for namespaces)', () => {
  let node: NodeInProcess
  let slow: Slowness = { ms: {} }

  beforeAll(async () => {
    node = await NodeInProcess.up({
      hostLimits: { addMs: 2_500, undoMs: 1_500 },
      agentLimits: { callTimeoutMs: 1_000 },
      adapter: (adapter) =>
        wrapAdapter(adapter, {
          attach: (req, ctx) => slowAdapter(adapter, slow).attach(req, ctx),
          detach: (req, ctx) => slowAdapter(adapter, slow).detach(req, ctx),
          list: (ctx) => slowAdapter(adapter, slow).list(ctx),
        }),
    })
  })
  afterEach(async () => {
    slow = { ms: {} }
    await expect.poll(() => node.remains(), LIMIT).toEqual([])
  })
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  test.each([
    ['before', false],
    ['after', false],
    ['before', true],
    ['after', true],
  ] as const)('%s its work, deaf to its caller: %s: the ADD fails, and nothing is left once it has come to its end', async (when, deaf) => {
    slow = { ms: { attach: 4_000 }, when, deaf }
    await using pod = await node.pod('p')
    expect(await node.call('ADD', pod)).toMatchObject({ exitCode: 1, json: { code: 11 } })
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  test('with a detach that outlasts the host: DEL succeeds, and the VF is free once it has come to its end', async () => {
    await using pod = await node.pod('p')
    await expect.poll(async () => (await node.call('ADD', pod)).exitCode, LIMIT).toBe(0)
    slow = { ms: { detach: 2_500 } }
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect((await node.inspect()).leases.map(({ state }) => state)).toContain('quarantined')
  })

  test('a list that hangs does not keep other calls back', async () => {
    slow = { ms: { list: 5_000 }, deaf: true }
    await node.resyncs(1)
    await using pod = await node.pod('p')
    await expect.poll(async () => (await node.call('ADD', pod)).exitCode, LIMIT).toBe(0)
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })
})
