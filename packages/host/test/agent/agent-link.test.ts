import type { ResyncEvent } from '@cni-offload/protocol'
import { type Clock, formatAttachmentKey, OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { AgentLink } from '../../src/agent/agent-link.ts'
import { attachCall } from '../../src/agent/intent.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { FakeAgent, untilAborted } from '../support/fake-agent.ts'
import { eventually } from '../support/lab.ts'
import { leaseOf, RESULT, vfsOf } from '../support/row.ts'

const CTX = { signal: new AbortController().signal }
/** Retries do not wait; the pause between two resyncs never ends. */
const hastyClock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms < DEFAULT_LIMITS.resyncMs ? 1 : 2_000_000, signal) }

describe('AgentLink', () => {
  const stack = new DisposableStack()
  const stops: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
  })
  const start = (agent: FakeAgent, names: readonly string[] = [], clock: Clock = hastyClock) => {
    const journal = stack.use(new SqliteJournal(':memory:', systemClock))
    journal.syncVfs(vfsOf(8))
    for (const name of names) {
      const { key } = journal.lease(leaseOf(name))
      journal.attached(key, RESULT)
      journal.wired(key)
    }
    const events: ResyncEvent[] = []
    const errors: object[] = []
    const log = { ...silentLogger, error: (fields: object, message: string) => void errors.push({ ...fields, message }) }
    const observer = { connected: () => {}, resynced: (event: ResyncEvent) => void events.push(event) }
    const link = new AgentLink({
      client: agent,
      journal,
      node: 'node-1',
      bootId: 'boot-1',
      limits: { ...DEFAULT_LIMITS, agentMs: 100, restartMs: 0 },
      clock,
      log,
      observer,
    })
    const stop = new AbortController()
    let ready = 0
    const running = link.run(stop.signal, () => ready++)
    stops.push(async () => {
      stop.abort()
      await running
    })
    return { link, journal, events, errors, ready: () => ready }
  }
  const row = (journal: SqliteJournal, name: string) => journal.get(leaseOf(name).intent.key)!

  it('tells the agent all that is wired before any call passes', async () => {
    const agent = new FakeAgent()
    const { link, events } = start(agent, ['a', 'b'])
    agent.attachments.set('net/stray/eth0', { ...leaseOf('stray').intent, vf: { device: 'd', index: 9 }, vfMac: '' })
    await link.status({}, CTX)
    expect(agent.calls.filter((call) => !call.startsWith('boot'))).toEqual(['handshake', 'resync', 'status'])
    expect(agent.resyncs).toEqual([['net/a/eth0', 'net/b/eth0']])
    expect(agent.attachments.get('net/a/eth0')).toMatchObject({ vf: { device: 'dev0', index: 0 }, vfMac: RESULT.mac, pod: { name: 'a' } })
    expect(events.map(({ key, action }) => `${key.containerId} ${action}`)).toEqual(['a reattached', 'b reattached', 'stray detached'])
    expect(link.instanceId).toBe('run-1')
  })

  it('leaves out of a resync what is being undone and what the agent never answered', async () => {
    const agent = new FakeAgent('unreachable')
    const { link, journal } = start(agent, ['a', 'b'])
    journal.detaching(leaseOf('a').intent.key)
    journal.lease(leaseOf('c'))
    agent.become('ready')
    await link.ready(CTX.signal)
    expect(agent.resyncs).toEqual([['net/b/eth0']])
  })

  it('does it again after each loss of the connection', async () => {
    const agent = new FakeAgent()
    const { link, ready } = start(agent, ['a'])
    await link.ready(CTX.signal)
    agent.become('unreachable')
    await eventually(() => !link.connected, 'the loss is noticed')
    expect(link.instanceId).toBeUndefined()
    await expect(link.status({}, CTX)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE', message: expect.stringContaining('fake:1') })
    agent.attachments.clear()
    agent.instanceId = 'run-2'
    agent.become('ready')
    await link.ready(CTX.signal)
    expect(agent.attachments.size).toBe(1)
    expect([link.instanceId, ready()]).toEqual(['run-2', 2])
  })

  it('notices a connection that is replaced at once', async () => {
    const agent = new FakeAgent()
    const { link } = start(agent, ['a'])
    await link.ready(CTX.signal)
    agent.become('connecting')
    agent.become('ready')
    await eventually(() => agent.resyncs.length === 2 && link.connected, 'a second resync')
  })

  it('gives up on a resync whose connection is lost', async () => {
    const agent = new FakeAgent()
    const stuck = Promise.withResolvers<void>()
    agent.before = (method, { signal }) => (method === 'resync' ? (stuck.resolve(), untilAborted(signal)) : undefined)
    const { link } = start(agent, ['a'])
    await stuck.promise
    agent.before = () => {}
    agent.become('connecting')
    agent.become('ready')
    await eventually(() => link.connected, 'the next connection is used')
    expect(agent.resyncs).toEqual([['net/a/eth0']])
  })

  it('never resyncs while a call of before is under way, nor lets calls pass while it resyncs', async () => {
    const agent = new FakeAgent()
    const { link, journal } = start(agent)
    await link.ready(CTX.signal)
    const slow = Promise.withResolvers<void>()
    agent.afterAttach = () => slow.promise
    const lease = journal.lease(leaseOf('a'))
    const attach = link.attach(attachCall(lease, lease.vfMac), CTX, ({ result }) => journal.attached(lease.key, result))
    agent.become('connecting')
    agent.become('ready')
    await eventually(() => agent.calls.filter((call) => call === 'handshake').length === 2, 'the new connection is greeted')
    const resyncing = Promise.withResolvers<void>()
    const inResync = Promise.withResolvers<void>()
    agent.before = (method) => {
      if (method !== 'resync') return
      inResync.resolve()
      return resyncing.promise
    }
    expect(agent.resyncs).toHaveLength(1)
    slow.resolve()
    await attach
    await inResync.promise
    let passed = false
    const other = link.detach({ key: leaseOf('z').intent.key }, CTX).then(() => (passed = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(passed).toBe(false)
    resyncing.resolve()
    await other
    expect(agent.resyncs.at(-1), 'with what the slow call made').toEqual(['net/a/eth0'])
  })

  it('tries again until host and agent agree, and says why not', async () => {
    const agent = new FakeAgent()
    agent.protocol = 7
    const { link, errors } = start(agent)
    await eventually(() => errors.length > 0, 'the reason is logged')
    await expect(link.ready(CTX.signal)).rejects.toMatchObject({
      code: 'INCOMPATIBLE_PEER',
      message: expect.stringContaining('protocol version 7'),
    })
    agent.before = (method) => {
      if (method === 'resync') throw new OffloadError('ADAPTER_FAILED', 'not yet')
    }
    agent.protocol = 1
    await eventually(() => errors.length > 1, 'the next reason is logged')
    await expect(link.ready(CTX.signal)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE', message: expect.stringContaining('not yet') })
    agent.before = () => {}
    await eventually(() => link.connected, 'they agree')
    expect(errors, 'each reason once').toHaveLength(2)
  })

  it('repeats a resync in which something failed while calls pass, and no more once the connection is lost', async () => {
    const agent = new FakeAgent()
    let broken = true
    const { resync } = agent
    agent.resync = async function* (wired, ctx) {
      for await (const event of resync.call(agent, wired, ctx))
        yield broken ? { key: event.key, action: 'failed', error: { code: 'ADAPTER_FAILED', message: 'not yet' } } : event
    }
    const { link, events, ready } = start(agent, ['a'])
    await eventually(() => events.length > 2, 'it is repeated')
    expect([link.connected, ready()]).toEqual([true, 1])
    await link.status({}, CTX)
    agent.become('unreachable')
    await eventually(() => !link.connected, 'the loss is noticed')
    const before = agent.resyncs.length
    broken = false
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(agent.resyncs).toHaveLength(before)
    agent.become('ready')
    await eventually(() => events.at(-1)?.action === 'kept', 'all is well')
  })

  it('keeps calls and a repeated resync apart: an attach under way is named, a detach waits for its turn', async () => {
    const agent = new FakeAgent()
    const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const [attached, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let repeated = false
    let named: string[] = []
    agent.resync = async function* (wired) {
      // The first one is answered at once, so that calls pass; the repetition begins when an attach is under way.
      if (repeated) await attached.promise
      const keys = await Array.fromAsync(wired, ({ key }) => key)
      named = keys.map(({ containerId }) => containerId)
      if (repeated) {
        reached.resolve()
        await go.promise
      }
      for (const key of keys) yield repeated ? { key, action: 'kept' } : { key, action: 'failed' }
      repeated = true
    }
    const pause = Promise.withResolvers<void>()
    const clock: Clock = { ...systemClock, sleep: (_ms, signal) => Promise.race([pause.promise, untilAborted(signal)]) }
    const { link, journal } = start(agent, ['a'], clock)
    await link.ready(CTX.signal)
    agent.afterAttach = () => {
      attached.resolve()
      return answer.promise
    }
    const lease = journal.lease(leaseOf('b'))
    const attach = link.attach(attachCall(lease, lease.vfMac), CTX, ({ result }) => journal.attached(lease.key, result))
    await attached.promise
    pause.resolve()
    await reached.promise
    expect(named).toEqual(['a', 'b'])
    journal.detaching(leaseOf('a').intent.key)
    const detach = link.detach({ key: leaseOf('a').intent.key }, { signal: AbortSignal.timeout(10_000) })
    await new Promise((resolve) => setImmediate(resolve))
    expect(agent.calls).not.toContain('detach')
    answer.resolve()
    await attach
    go.resolve()
    await detach
    expect(agent.calls).toContain('detach')
  })

  it('passes on why the caller stopped waiting', async () => {
    const { link } = start(new FakeAgent('unreachable'))
    await expect(link.ready(AbortSignal.timeout(1))).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })

  it('reports attachments that failed, and addresses that a running pod cannot follow', async () => {
    const agent = new FakeAgent()
    agent.resync = async function* () {
      yield { key: leaseOf('a').intent.key, action: 'reattached', result: { ...RESULT, ips: [{ address: '10.0.0.9/24' }] } }
      yield { key: leaseOf('b').intent.key, action: 'failed', error: { code: 'RESOURCE_EXHAUSTED', message: 'no address' } }
      yield { key: leaseOf('c').intent.key, action: 'kept', result: RESULT }
    }
    const stopped: Clock = { ...systemClock, sleep: (_ms, signal) => untilAborted(signal) }
    const { link, errors, journal } = start(agent, ['a', 'b', 'c'], stopped)
    await link.ready(CTX.signal)
    expect(errors).toMatchObject([
      { key: formatAttachmentKey(row(journal, 'a').key), before: [RESULT.mac, '10.0.0.2/24'], after: [RESULT.mac, '10.0.0.9/24'] },
      { key: formatAttachmentKey(row(journal, 'b').key), code: 'RESOURCE_EXHAUSTED', reason: 'no address' },
    ])
  })
})
