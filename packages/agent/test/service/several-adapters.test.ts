import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { silentLogger } from '@cni-offload/sdk'
import { Scope } from '@cni-offload/sdk/runtime'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Runtime, startRuntime } from '../../src/runtime/runtime.ts'
import type { KeptPorts } from '../../src/service/port-plan.ts'
import { call, ctx, key, rejection } from '../support/bench.ts'
import { adapterPlugin, devicePlugin, FakeAdapter, FakeDevice, FakeNetwork } from '../support/fakes.ts'

let dir: string
let scope: Scope
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'agent-several-'))
})
afterEach(async () => {
  await scope[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
})

const [a, b] = [new FakeNetwork(), new FakeNetwork()]

/** @param networks - with an adapter each @param named - what the adapters call themselves */
async function boot(
  ports: KeptPorts,
  networks: Readonly<Record<string, FakeNetwork>> = { a, b },
  { forget = [], named = 'fake' }: { readonly forget?: readonly string[]; readonly named?: string } = {},
): Promise<{ runtime: Runtime; own: number[][] }> {
  const adapters = Object.values(networks).map((network) => new FakeAdapter(network, {}, named))
  const plugins = adapters.map((adapter) => adapterPlugin(() => adapter))
  scope = Scope.root()
  const runtime = await startRuntime(
    scope,
    {
      node: 'n1',
      stateDir: dir,
      hardware: devicePlugin(() => new FakeDevice(4)),
      adapters: Object.fromEntries(Object.keys(networks).map((name, at) => [name, plugins[at]!])),
      ports,
      forget,
      log: silentLogger,
    },
    new AbortController().signal,
  )
  return {
    runtime,
    own: adapters.map(({ started = [] }) => started.filter(({ shared }) => shared !== true).map(({ vf }) => vf.index)),
  }
}

test('the host is told what networks keep, a wrong VF is refused, and a pod stays on its VF when the configuration changes', async () => {
  let { runtime, own } = await boot({})
  expect(own).toEqual([[], []])
  const running = call('pod', 0, { key: key('pod', 'b') })
  await runtime.service.attach(running, ctx())
  await scope[Symbol.asyncDispose]()
  ;({ runtime, own } = await boot({ a: [{ device: 'card', first: 0, last: 1 }] }))
  expect(own, 'the port that a pod of b still has is not the other adapter’s to take').toEqual([[1], [2, 3]])
  const hello = { protocol: { min: 1, max: 1 }, node: 'n1', bootId: 'b', features: [] }
  expect((await runtime.service.handshake(hello, ctx())).kept).toEqual([
    {
      network: 'a',
      vfs: [
        { device: 'card', index: 0 },
        { device: 'card', index: 1 },
      ],
    },
  ])
  expect(await rejection(runtime.service.attach(call('other', 1, { key: key('other', 'b') }), ctx()))).toMatchObject({
    code: 'INVALID_NETCONF',
    message: 'network "b" must not use VF card/1: network "a" keeps it',
  })
  expect(await rejection(runtime.service.attach(call('other', 2, { key: key('other', 'a') }), ctx()))).toMatchObject({
    code: 'INVALID_NETCONF',
    message: 'network "a" must not use VF card/2: it has ports of its own',
  })
  const wired = async function* () {
    yield running
  }
  const events = await Array.fromAsync(runtime.service.resync(wired(), ctx()))
  expect(events).toMatchObject([{ key: running.key, action: 'kept' }])
  await runtime.service.detach({ key: running.key }, ctx())
  expect(b.connected.size).toBe(0)
})

test('the port of a pod whose network is not served any more is nobody’s to take while the pod runs', async () => {
  const before = await boot({})
  const running = call('pod', 0, { key: key('pod', 'b') })
  await before.runtime.service.attach(running, ctx())
  await scope[Symbol.asyncDispose]()
  const { own, runtime } = await boot({}, { a })
  expect(own).toEqual([[1, 2, 3]])
  const other = call('other', 0, { key: key('other', 'a') })
  await runtime.service.detach({ key: running.key }, ctx()).catch(() => undefined)
  expect(await rejection(runtime.service.attach(other, ctx()))).toMatchObject({ code: 'ALREADY_EXISTS' })
})

describe('an attachment belongs to the adapter that made it', () => {
  const running = call('pod', 0, { key: key('pod', 'net') })
  const wired = async function* (...calls: (typeof running)[]) {
    yield* calls
  }
  let own: FakeNetwork
  let any: FakeNetwork
  beforeEach(() => {
    own = new FakeNetwork()
    any = new FakeNetwork()
  })

  /** Makes the attachment under one configuration and starts the agent with another. */
  const change = async (
    before: Readonly<Record<string, FakeNetwork>>,
    after: Readonly<Record<string, FakeNetwork>>,
    more: Parameters<typeof boot>[2] = {},
    between: () => void = () => undefined,
  ): Promise<Runtime> => {
    const first = await boot({}, before)
    await first.runtime.service.attach(running, ctx())
    await scope[Symbol.asyncDispose]()
    between()
    return (await boot({}, after, more)).runtime
  }

  test('which is not configured any more: no other one, not that of all networks either, is asked to end or to mend it', async () => {
    let { service } = await change({ net: own, '*': any }, { '*': any })
    const refused = { code: 'NOT_READY', message: expect.stringContaining('the adapter net/fake that made attachment net/pod/eth0') }
    const [event] = await Array.fromAsync(service.resync(wired(running), ctx()))
    expect(event).toMatchObject({ action: 'failed', error: refused })
    expect(await rejection(service.check({ key: running.key }, ctx()))).toMatchObject(refused)
    expect(await rejection(service.detach({ key: running.key }, ctx()))).toMatchObject(refused)
    expect(await Array.fromAsync(service.resync(wired(), ctx()))).toEqual([])
    expect(any.calls).toEqual([])
    expect(own.connected.size).toBe(1)
    await scope[Symbol.asyncDispose]()
    ;({ service } = (await boot({}, { net: own, '*': any })).runtime)
    expect(await service.list(ctx()), 'its end was noted, and its adapter is there again').toEqual([])
    expect(own.connected.size).toBe(0)
    expect(any.calls).toEqual([])
  })

  test('which serves other networks by now: it goes on with it, and ends it', async () => {
    const { service } = await change({ '*': any }, { '*': any, net: own })
    expect(await Array.fromAsync(service.resync(wired(running), ctx()))).toMatchObject([{ action: 'kept' }])
    await service.check({ key: running.key }, ctx())
    any.connected.clear()
    expect(await Array.fromAsync(service.resync(wired(running), ctx()))).toMatchObject([{ action: 'reattached' }])
    expect(any.connected.size).toBe(1)
    await service.detach({ key: running.key }, ctx())
    expect(any.connected.size).toBe(0)
    expect(own.calls).toEqual([])
    await service.attach(running, ctx())
    expect(own.connected.size, 'what is new is made by the adapter of its network').toBe(1)
  })

  test('another adapter under the same name is a stranger', async () => {
    const { service } = await change({ net: own }, { net: own }, { named: 'other' })
    expect(await rejection(service.detach({ key: running.key }, ctx()))).toMatchObject({ code: 'NOT_READY' })
    expect(own.count('detach')).toBe(0)
  })

  test('of an older agent’s rows, to the one that serves their network at the first start', async () => {
    await change({ net: own, '*': any }, { net: own, '*': any }, {}, () => {
      using db = new DatabaseSync(join(dir, 'journal.db'))
      db.exec("UPDATE attachments SET request = json_remove(request, '$.madeBy')")
    })
    await scope[Symbol.asyncDispose]()
    let { service } = (await boot({}, { '*': any })).runtime
    expect(await service.list(ctx())).toMatchObject([{ key: running.key, state: 'attached', request: running }])
    expect(await rejection(service.detach({ key: running.key }, ctx()))).toMatchObject({ code: 'NOT_READY' })
    expect(any.calls).toEqual([])
    await scope[Symbol.asyncDispose]()
    ;({ service } = (await boot({}, { net: own })).runtime)
    expect(own.connected.size).toBe(0)
  })

  test('what only that one remembers is taken over as its own', async () => {
    own.remembers = true
    any.remembers = true
    const { service } = await change({ '*': any }, { '*': any, net: own }, {}, () => rmSync(join(dir, 'journal.db')))
    expect(await Array.fromAsync(service.resync(wired(running), ctx()))).toMatchObject([{ action: 'kept' }])
    await service.detach({ key: running.key }, ctx())
    expect([any.connected.size, own.calls]).toEqual([0, []])
  })

  test('a stray of a network to be forgotten is forgotten when the host does not name it', async () => {
    const { service } = await change({ net: own, '*': any }, { '*': any }, { forget: ['net'] })
    expect(await Array.fromAsync(service.resync(wired(), ctx()))).toMatchObject([{ key: running.key, action: 'detached' }])
    expect(await service.list(ctx())).toEqual([])
    expect([own.count('detach'), any.calls]).toEqual([0, []])
  })
})
