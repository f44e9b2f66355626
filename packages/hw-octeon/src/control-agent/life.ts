import type { Machine } from '@cni-offload/linux/machine'
import type { Clock, Logger } from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'
import { AGENT_START_MS } from './backoff.ts'
import type { AgentChild, LaunchAgent } from './child.ts'
import { type AgentExit, AgentTrace, explainAgentExit } from './exit.ts'
import { type AgentLine, parseAgentLine } from './log-line.ts'
import { KILL_MS, STOP_MS } from './orphans.ts'
import { AgentReadiness } from './readiness.ts'
import { TurnWatch } from './turn-watch.ts'

/** The agent waits up to {@link AGENT_START_MS} for the link; whoever is not ready by then will never be. */
const UNREADY_MS = AGENT_START_MS + 5_000

/** What one life of a control agent needs. */
export interface LifeDeps {
  readonly argv: readonly [string, ...string[]]
  readonly functions: number
  /** The machine that it runs on. */
  readonly machine: Machine
  /** Pause of its loop in each turn, milliseconds. */
  readonly pollMs: number
  readonly launch: LaunchAgent
  readonly clock: Clock
  readonly log: Logger
  /** Told of its process as soon as there is one. */
  readonly began: (pid: number) => Promise<void>
  /** Told when the host can use it, and when it cannot any more, and why. */
  readonly changed: (pid: number, ready: boolean, reason: string) => void
}

/** How a life of a control agent ended. */
export interface LifeEnd extends AgentExit {
  /** Longest time for which the host could use it in one go, in milliseconds. */
  readonly readyMs: number
  /** Only of one that does not end though it was killed: resolves when it has. A second one must not be started beside it. */
  readonly lingering?: Promise<unknown>
}

/**
 * Runs a control agent until it ends, until it is of no use any more and is ended, or until the signal aborts and it is ended.
 *
 * @throws the system's error if it cannot be started
 */
export async function liveAgent(deps: LifeDeps, signal: AbortSignal): Promise<LifeEnd> {
  const { clock, log } = deps
  const trace = new AgentTrace()
  const readiness = new AgentReadiness(deps.functions)
  const hopeless = Promise.withResolvers<string>()
  const watch = new UnreadyWatch(clock, (reason) => hopeless.resolve(reason))
  let hung = false
  const turns = new TurnWatch({
    ...deps,
    hangs: (reason) => {
      hung = true
      hopeless.resolve(reason)
    },
  })
  // 0: it has none yet, what it says is kept until it has.
  let pid = 0
  let readySince: number | undefined
  let longest = 0
  let over = false
  const readyMs = (): number => Math.max(longest, readySince === undefined ? 0 : clock.monotonic() - readySince)
  const note = (): void => {
    // What it says of its end, where we end it, is no news.
    if (pid === 0 || over) return
    if (readiness.ready && readySince === undefined) {
      readySince = clock.monotonic()
      watch.stop()
      turns.start(pid)
      deps.changed(pid, true, '')
    } else if (!readiness.ready && readySince !== undefined) {
      longest = readyMs()
      readySince = undefined
      turns.stop()
      watch.start(() => readiness.reason)
      deps.changed(pid, false, readiness.reason)
    }
    if (readiness.stuck !== undefined) hopeless.resolve(readiness.stuck)
  }
  const onLine = (text: string): void => {
    const line = parseAgentLine(text)
    log[isBad(line) ? 'warn' : 'debug']({ pid, line: text }, 'control agent')
    trace.note(line)
    readiness.note(line)
    note()
  }
  const child = await deps.launch(deps.argv, onLine)
  pid = child.pid
  const live = async (): Promise<LifeEnd> => {
    watch.start(() => readiness.reason)
    await deps.began(child.pid)
    // What it has said before its process was known counts from now on.
    note()
    const stop = new AbortController()
    const first = await Promise.race([
      child.ended.then((end) => ({ end })),
      hopeless.promise.then((reason) => ({ reason })),
      aborted(AbortSignal.any([signal, stop.signal])).then(() => 'told' as const),
    ])
    stop.abort()
    if (first === 'told') return { readyMs: readyMs(), text: 'it was told to end', remedy: 'none', hint: '' }
    if ('end' in first) return { readyMs: readyMs(), ...explainAgentExit(first.end, trace) }
    return { readyMs: readyMs(), text: first.reason, remedy: trace.has('pem-unavailable') ? 'retry-slowly' : 'retry', hint: HOPELESS }
  }
  let end: LifeEnd
  let ended = true
  try {
    end = await live()
  } finally {
    over = true
    watch.stop()
    turns.stop()
    // One that hangs hears nothing, and the host's patience is short.
    ended = await endChild(child, deps, hung ? [KILL] : [STOP, KILL])
  }
  return ended ? end : { ...end, lingering: child.ended }
}

const HOPELESS = 'it is ended and started again; if that goes on, look whether the host is up'

function isBad({ kind }: AgentLine): boolean {
  return kind === 'fault' || kind === 'reset-failed' || kind === 'config-error' || kind === 'skipped'
}

const STOP = { by: 'SIGINT', limitMs: STOP_MS } as const
const KILL = { by: 'SIGKILL', limitMs: KILL_MS } as const

/** Ends it in the way in which it tells the host; kills it if that takes too long. @returns whether it has ended */
async function endChild(
  child: AgentChild,
  { clock, log }: Pick<LifeDeps, 'clock' | 'log'>,
  ways: readonly (typeof STOP | typeof KILL)[],
): Promise<boolean> {
  let running = true
  const ended = child.ended.then(() => void (running = false))
  // What has ended already says so in this turn.
  await Promise.race([ended, Promise.resolve()])
  for (const { by, limitMs } of ways) {
    if (!running) return true
    child.kill(by)
    const late = new AbortController()
    await Promise.race([ended, clock.sleep(limitMs, late.signal).catch(() => {})])
    late.abort()
    if (running) log.warn({ pid: child.pid, signal: by }, 'the control agent does not end')
  }
  return !running
}

/** Says so when an agent has been of no use for so long that it will stay so. */
class UnreadyWatch {
  readonly #clock: Clock
  readonly #expired: (reason: string) => void
  #stop = new AbortController()

  constructor(clock: Clock, expired: (reason: string) => void) {
    this.#clock = clock
    this.#expired = expired
  }

  start(reason: () => string): void {
    this.stop()
    this.#stop = new AbortController()
    void this.#clock.sleep(UNREADY_MS, this.#stop.signal).then(
      () => this.#expired(`${reason()} for ${UNREADY_MS / 1000} s`),
      () => {},
    )
  }

  stop(): void {
    this.#stop.abort()
  }
}
