import { setImmediate as nextTurn } from 'node:timers/promises'
import { HEARTBEAT } from '@cni-offload/protocol'
import { OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { AgentLink } from '../../src/agent/agent-link.ts'
import { attachCall } from '../../src/agent/intent.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { FakeAgent } from '../support/fake-agent.ts'
import { eventually } from '../support/lab.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { leaseOf, vfsOf } from '../support/row.ts'

const CTX = { signal: new AbortController().signal }

/** An agent that beats when the test says so. */
class BeatingAgent extends FakeAgent {
  override features = [HEARTBEAT]
  /** Whether each beat of the host said that it stops. */
  readonly heard: boolean[] = []
  #says = Promise.withResolvers<'live' | 'restart' | 'end'>()

  say(what: 'live' | 'restart' | 'end'): void {
    this.#says.resolve(what)
    this.#says = Promise.withResolvers()
  }

  override beats: FakeAgent['beats'] = async function* (this: BeatingAgent, beats, { signal }) {
    const over = Promise.withResolvers<'end'>()
    signal.addEventListener('abort', () => over.resolve('end'), { once: true })
    void (async () => {
      for await (const { stopping } of beats) this.heard.push(stopping)
      // What the client says when the host's beats end.
      this.heard.push(true)
      over.resolve('end')
    })().catch(() => {})
    for (;;) {
      const said = await Promise.race([this.#says.promise, over.promise])
      if (said === 'end') return
      yield { restarting: said === 'restart' }
      if (said === 'restart') return
    }
  }
}

describe('heartbeats with the agent', () => {
  const stack = new DisposableStack()
  const stops: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
  })
  const start = (agent: FakeAgent, restartMs = 20_000) => {
    const journal = stack.use(new SqliteJournal(':memory:', systemClock))
    journal.syncVfs(vfsOf(8))
    const clock = new ManualClock()
    const errors: string[] = []
    const log = { ...silentLogger, error: ({ err }: { err: Error }) => void errors.push(err.message) }
    const limits = { ...DEFAULT_LIMITS, agentMs: 50, restartMs }
    const link = new AgentLink({ client: agent, journal, node: 'node-1', bootId: 'boot-1', limits, clock, log: log as never })
    const stop = new AbortController()
    const running = link.run(stop.signal, () => {})
    const end = async (): Promise<void> => {
      stop.abort(new OffloadError('CANCELLED', 'the daemon is stopping'))
      await running
    }
    stops.push(end)
    const row = journal.lease(leaseOf('a'))
    const attach = (): Promise<unknown> => link.attach(attachCall(row, row.vfMac), CTX, () => {})
    const pass = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 500) {
        for (let turn = 0; turn < 5; turn++) await nextTurn()
        clock.advance(500)
      }
      for (let turn = 0; turn < 5; turn++) await nextTurn()
    }
    return { link, clock, errors, attach, pass, end }
  }

  it('beats once a second, and says so when it stops', async () => {
    const agent = new BeatingAgent()
    const { link, pass, end } = start(agent)
    await link.ready(CTX.signal)
    await pass(1_000)
    agent.say('live')
    await pass(1_000)
    expect(agent.heard).toEqual([false, false, false])
    await end()
    expect(agent.heard).toEqual([false, false, false, true])
  })

  it('takes silence for a loss: calls fail at once with the cause, and pass again after the next resync', async () => {
    const agent = new BeatingAgent()
    const { link, pass, attach, errors } = start(agent)
    await link.ready(CTX.signal)
    agent.before = (method) => {
      if (method === 'handshake') throw new OffloadError('DEADLINE_EXCEEDED', 'no answer to the handshake')
    }
    await pass(2_000)
    expect(link.connected, 'after two seconds').toBe(true)
    await pass(500)
    expect(link.connected, 'after two and a half').toBe(false)
    const lost = { code: 'AGENT_UNREACHABLE', message: expect.stringContaining('no heartbeat of the agent for 2500 ms') }
    await expect(attach()).rejects.toMatchObject(lost)
    await expect(link.status({}, CTX)).rejects.toMatchObject(lost)
    agent.before = () => {}
    await pass(1_000)
    await eventually(() => link.connected, 'the agent is used again')
    expect(agent.resyncs).toHaveLength(2)
    await attach()
    expect(errors).toEqual(['no heartbeat of the agent for 2500 ms'])
  })

  it('takes heartbeats that end without a word for a loss', async () => {
    const agent = new BeatingAgent()
    const { link } = start(agent)
    await link.ready(CTX.signal)
    agent.say('end')
    await eventually(() => !link.connected, 'the loss is noticed')
  })

  it('does not look for heartbeats of an agent that has none', async () => {
    const agent = new FakeAgent()
    const { link, pass } = start(agent)
    await link.ready(CTX.signal)
    await pass(10_000)
    expect(link.connected).toBe(true)
  })

  describe('of an agent that restarts', () => {
    const restarting = async () => {
      const agent = new BeatingAgent()
      const started = start(agent)
      await started.link.ready(CTX.signal)
      agent.say('restart')
      await eventually(() => !started.link.connected, 'the gate is closed')
      return { agent, ...started }
    }

    it('let calls wait for it; only who asks for the status is told at once', async () => {
      const { agent, link, attach } = await restarting()
      const attached = attach()
      await expect(link.status({}, CTX)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE', message: expect.stringContaining('restarts') })
      agent.become('connecting')
      agent.become('ready')
      await attached
      expect(agent.calls.filter((call) => !call.startsWith('boot')).slice(-3)).toEqual(['handshake', 'resync', 'attach'])
    })

    it('let calls wait for the next connection also where it says so during the resync', async () => {
      const agent = new BeatingAgent()
      const resyncing = Promise.withResolvers<void>()
      agent.before = (method) => (method === 'resync' ? resyncing.promise : undefined)
      const { link, attach } = start(agent)
      await eventually(() => agent.heard.length > 0 && agent.calls.includes('resync'), 'the agent hears the host, and is told what it has')
      agent.say('restart')
      const announced = { message: expect.stringContaining('restarts') as string }
      await expect.poll(() => link.status({}, CTX).catch((error: unknown) => error), { timeout: 30_000 }).toMatchObject(announced)
      const attached = attach()
      resyncing.resolve()
      await eventually(() => agent.resyncs.length === 1, 'the resync goes on')
      for (let turn = 0; turn < 20; turn++) await nextTurn()
      expect(link.connected).toBe(false)
      agent.become('connecting')
      agent.become('ready')
      await attached
      expect(agent.calls.filter((call) => ['handshake', 'resync', 'attach'].includes(call))).toEqual([
        ...['handshake', 'resync'],
        ...['handshake', 'resync', 'attach'],
      ])
    })

    it('let calls wait for it also where its word is read after the connection has gone', async () => {
      const agent = new BeatingAgent()
      const { link, attach } = start(agent)
      await link.ready(CTX.signal)
      agent.become('connecting')
      const attached = attach()
      await nextTurn()
      attached.catch(() => {})
      agent.say('restart')
      // This one waits as long as calls wait for an agent that was lost.
      await expect(link.status({}, CTX)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
      agent.become('ready')
      await attached
    })

    it('have a call made again that the end of the agent has cut off', async () => {
      const agent = new BeatingAgent()
      const { link, attach } = start(agent)
      await link.ready(CTX.signal)
      agent.before = (method) => {
        if (method !== 'attach') return
        agent.before = () => {}
        agent.say('restart')
        throw new OffloadError('AGENT_UNREACHABLE', 'the agent is shutting down')
      }
      const attached = attach()
      await eventually(() => !link.connected, 'the gate is closed')
      agent.become('connecting')
      agent.become('ready')
      await attached
      expect(agent.calls.filter((call) => call === 'attach')).toHaveLength(2)
    })

    it('fail as after a loss when it does not come back in time', async () => {
      const { clock, attach } = await restarting()
      clock.advance(20_001)
      await expect(attach()).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    })
  })

  it('waits for the first connection of a daemon that has just started, and no longer for the next ones', async () => {
    const agent = new FakeAgent('unreachable')
    const { link, attach } = start(agent)
    const attached = attach()
    await expect(link.status({}, CTX)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    agent.become('ready')
    await attached
    agent.become('unreachable')
    await eventually(() => !link.connected, 'the loss is noticed')
    await expect(attach()).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
  })
})
