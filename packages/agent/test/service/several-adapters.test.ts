import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@cni-offload/sdk'
import { Scope } from '@cni-offload/sdk/runtime'
import { afterEach, beforeEach, expect, test } from 'vitest'
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

/** @param networks - with an adapter each */
async function boot(
  ports: KeptPorts,
  networks: Readonly<Record<string, FakeNetwork>> = { a, b },
): Promise<{ runtime: Runtime; own: number[][] }> {
  const adapters = Object.values(networks).map((network) => new FakeAdapter(network))
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
