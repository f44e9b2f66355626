import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { OffloadError, type Logger, silentLogger } from '@cni-offload/sdk'
import { createOffloadClient, type OffloadClient, type TlsFiles } from '@cni-offload/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Agent, type AgentOptions, createAgent } from '../src/index.ts'
import { Barrier, call, collect, key, rejection } from './support/bench.ts'
import { adapterPlugin, devicePlugin, FakeAdapter, FakeDevice, FakeNetwork } from './support/fakes.ts'
import { TestPki } from './support/pki.ts'

let pki: TestPki
let tls: TlsFiles
let hostTls: TlsFiles
beforeAll(async () => {
  pki = await TestPki.create()
  tls = await pki.issue('agent', 'n1')
  hostTls = await pki.issue('host', 'n1')
})
afterAll(() => {
  pki[Symbol.dispose]()
})

interface Running extends AsyncDisposable {
  readonly agent: Agent
  readonly network: FakeNetwork
  readonly device: FakeDevice
  readonly adapter: FakeAdapter
  readonly states: string[]
  readonly done: Promise<void>
  client(as?: TlsFiles): Promise<OffloadClient>
  stop(): void
}

let runs = 0
const run = (more: Partial<AgentOptions> = {}): Running => {
  const network = new FakeNetwork()
  const device = new FakeDevice(8)
  const adapter = new FakeAdapter(network)
  const states: string[] = []
  const log: Logger = {
    ...silentLogger,
    info: (fields) => {
      if ('to' in fields) states.push(String(fields['to']))
    },
  }
  const agent = createAgent({
    node: 'n1',
    listen: 'tcp://127.0.0.1:0',
    tls,
    stateDir: join(pki.dir, `state-${runs++}`),
    hardware: devicePlugin(() => device),
    adapter: adapterPlugin(() => adapter),
    log,
    ...more,
  } as AgentOptions)
  const controller = new AbortController()
  const done = agent.run(controller.signal)
  done.catch(() => undefined)
  const stack = new AsyncDisposableStack()
  const stop = (): void => {
    controller.abort()
  }
  stack.defer(async () => {
    stop()
    await done.catch(() => undefined)
  })
  return {
    agent,
    network,
    device,
    adapter,
    states,
    done,
    stop,
    client: async (as = hostTls) => stack.use(createOffloadClient({ address: await agent.listening, tls: as, node: 'n1' })),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  }
}

const context = (): { signal: AbortSignal } => ({ signal: new AbortController().signal })

describe('an agent over real mTLS', () => {
  test('serves its host', async () => {
    await using running = run({ metrics: '127.0.0.1:0' })
    const client = await running.client()
    expect(await client.handshake({ protocol: { min: 1, max: 1 }, node: 'n1', bootId: 'b', features: [] }, context())).toMatchObject({
      protocol: 1,
      networks: ['*'],
    })
    const { result, port } = await client.attach(call('a', 0), context())
    expect(port).toBe('port0')
    expect(result).toEqual(running.network.connected.get('podnet/a/eth0')?.result)
    await client.check({ key: key('a'), expected: result }, context())
    await client.status({}, context())
    expect(await client.list(context())).toMatchObject([{ key: key('a'), state: 'attached' }])
    const wired = async function* () {
      yield call('a', 0)
      yield call('b', 1)
    }
    expect((await collect(client.resync(wired(), context()))).map(({ action }) => action)).toEqual(['kept', 'reattached'])
    expect(await rejection(client.attach(call('c', 0), context()))).toMatchObject({ code: 'ALREADY_EXISTS' })
    await client.detach({ key: key('a') }, context())

    const base = `http://${await running.agent.metricsListening}`
    expect(await (await fetch(`${base}/metrics`)).text()).toMatch(/call_duration_seconds_count\{method="attach",outcome="OK"\} 1/)
    expect(await (await fetch(`${base}/healthz`)).text()).toBe('RUNNING, host not heard of yet\n')
    expect((await fetch(`${base}/other`)).status).toBe(404)
  })

  test('serves no other host, and no agent', async () => {
    await using running = run()
    for (const as of [await pki.issue('host', 'n2'), tls]) {
      const client = await running.client(as)
      expect(['PERMISSION_DENIED', 'AGENT_UNREACHABLE']).toContain((await rejection(client.attach(call('a', 0), context()))).code)
    }
    expect(running.network.calls).toEqual([])
  })

  test('an attach that the host cancels is undone', async () => {
    await using running = run()
    const client = await running.client()
    const barrier = new Barrier()
    const undone = Promise.withResolvers<void>()
    running.network.before.attach = (_id, op) => barrier.pass(op.signal)
    running.network.before.detach = () => undone.resolve()
    const controller = new AbortController()
    const reply = rejection(client.attach(call('a', 0), { signal: controller.signal }))
    await barrier.reached
    controller.abort()
    expect(await reply).toMatchObject({ code: 'CANCELLED' })
    await undone.promise
    running.network.before = {}
    // Waits behind the undoing, so that nothing is left when it answers.
    await client.detach({ key: key('a') }, context())
    expect(await client.list(context())).toEqual([])
  })
})

describe('the life of an agent', () => {
  test('goes through its states once and stops in reverse order of starting', async () => {
    const running = run()
    expect(running.agent.state).toBe('STARTING')
    await running.agent.listening
    expect(running.agent.state).toBe('RUNNING')
    expect(await running.agent.metricsListening).toBeUndefined()
    expect(running.adapter.started).toHaveLength(8)
    expect(running.device.running).toBe(true)
    running.stop()
    await running.done
    expect(running.states).toEqual(['STARTING', 'RUNNING', 'DRAINING', 'STOPPED'])
    expect(running.agent.state).toBe('STOPPED')
    expect({ adapter: running.adapter.disposed, device: running.device.disposed, running: running.device.running }).toEqual({
      adapter: true,
      device: true,
      running: false,
    })
    await expect(running.agent.run(new AbortController().signal)).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  test('a running call ends and its answer arrives although the agent was told to stop', async () => {
    await using running = run()
    const client = await running.client()
    const barrier = new Barrier()
    running.network.before.attach = () => barrier.pass()
    const reply = client.attach(call('a', 0), context())
    await barrier.reached
    running.stop()
    expect(running.agent.state).toBe('RUNNING')
    await new Promise((resolve) => setImmediate(resolve))
    expect(running.agent.state).toBe('DRAINING')
    barrier.open()
    expect((await reply).port).toBe('port0')
    await running.done
  })

  test('what does not end in the grace is aborted, and nothing is left', async () => {
    await using running = run({ limits: { drainMs: 20 } })
    const client = await running.client()
    const barrier = new Barrier()
    running.network.before.attach = (_id, op) => barrier.pass(op.signal)
    const reply = rejection(client.attach(call('a', 0), context()))
    await barrier.reached
    running.stop()
    await running.done
    expect((await reply).code).toMatch(/CANCELLED|AGENT_UNREACHABLE/)
    expect(running.network.count('detach')).toBe(1)
    expect(running.network.connected.size).toBe(0)
  })

  test.each([
    [
      'the hardware cannot be made',
      {
        hardware: devicePlugin(() => {
          throw new OffloadError('HARDWARE_FAILURE', 'no card')
        }),
      },
      'HARDWARE_FAILURE',
    ],
    [
      'the adapter cannot be made',
      {
        adapter: adapterPlugin(() => {
          throw new OffloadError('INVALID_CONFIG', 'no pool')
        }),
      },
      'INVALID_CONFIG',
    ],
    ['there is no adapter', { adapter: undefined, adapters: {} }, 'INVALID_CONFIG'],
    [
      'a network has no proper name',
      { adapter: undefined, adapters: { 'no/name': adapterPlugin(() => new FakeAdapter(new FakeNetwork())) } },
      'INVALID_CONFIG',
    ],
    ['the address is nonsense', { listen: 'nowhere' }, 'INVALID_CONFIG'],
    ['the metrics address is nonsense', { metrics: 'nowhere' }, 'INVALID_CONFIG'],
    ['certificates are missing', { tls: { ca: '/nowhere/ca', cert: '/nowhere/cert', key: '/nowhere/key' } }, 'INVALID_CONFIG'],
  ])('when %s it does not start, says why and leaves nothing open', async (_what, more, code) => {
    await using running = run(more as Partial<AgentOptions>)
    expect(await rejection(running.done)).toMatchObject({ code })
    expect(await rejection(running.agent.listening)).toMatchObject({ code })
    expect(running.agent.state).toBe('STOPPED')
    expect(running.device.running).toBe(false)
  })

  test('a second agent on the same folder is refused, and may start once the first has stopped', async () => {
    await using first = run({ stateDir: join(pki.dir, 'shared') })
    await first.agent.listening
    await using second = run({ stateDir: join(pki.dir, 'shared') })
    expect(await rejection(second.done)).toMatchObject({ code: 'JOURNAL_FAILURE' })
    first.stop()
    await first.done
    await using third = run({ stateDir: join(pki.dir, 'shared') })
    await third.agent.listening
  })

  test('hardware that does not start in time ends the start', async () => {
    const device = new FakeDevice(1)
    device.start = () => new Promise(() => undefined)
    await using running = run({ hardware: devicePlugin(() => device), limits: { startTimeoutMs: 20 } })
    expect(await rejection(running.done)).toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('fake-card') as string })
    expect(device.disposed).toBe(true)
  })

  test('being told to stop while starting is no failure', async () => {
    const device = new FakeDevice(1)
    const barrier = new Barrier()
    device.start = () => barrier.pass()
    await using running = run({ hardware: devicePlugin(() => device) })
    await barrier.reached
    running.stop()
    await running.done
    expect(running.agent.state).toBe('STOPPED')
    expect(device.disposed).toBe(true)
    expect((await rejection(running.agent.listening)).code).toBe('CANCELLED')
  })

  test('each adapter has a folder of its own; one plugin for two networks is made once', async () => {
    const stateDir = join(pki.dir, 'folders')
    let made = 0
    const shared = adapterPlugin(() => {
      made++
      return new FakeAdapter(new FakeNetwork())
    })
    await using running = run({
      stateDir,
      adapter: undefined,
      adapters: { podnet: shared, storage: shared, '*': adapterPlugin(() => new FakeAdapter(new FakeNetwork())) },
    } as unknown as Partial<AgentOptions>)
    await running.agent.listening
    expect(made).toBe(1)
    expect(readdirSync(join(stateDir, 'adapters')).toSorted()).toEqual(['_any', 'podnet'])
    expect(existsSync(join(stateDir, 'hardware'))).toBe(true)
    const client = await running.client()
    expect((await client.handshake({ protocol: { min: 1, max: 1 }, node: 'n1', bootId: 'b', features: [] }, context())).networks).toEqual([
      'podnet',
      'storage',
      '*',
    ])
  })

  test('a metrics address that is taken is named', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as { port: number }
    await using running = run({ metrics: `tcp://127.0.0.1:${port}` })
    expect(await rejection(running.done)).toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringMatching(/metrics\.listen.*EADDRINUSE/) as string,
    })
    await new Promise((resolve) => other.close(resolve))
  })
})
