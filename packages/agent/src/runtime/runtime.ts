import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  type CniAdapter,
  cniName,
  type ConfiguredPlugin,
  type ErrorCode,
  formatVfId,
  OffloadError,
  type OpContext,
  type PluginKind,
  type PluginKinds,
  systemClock,
} from '@cni-offload/sdk'
import { deadline, RepairLedger, type Scope, token } from '@cni-offload/sdk/runtime'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { SqliteJournal } from '../journal/sqlite-journal.ts'
import { DEFAULT_LIMITS } from '../limits.ts'
import { stderrLogger } from '../log.ts'
import { AgentMetrics } from '../metrics/metrics.ts'
import { type AgentOptions, DEFAULT_STATE_DIR, HARDWARE_FOLDER } from '../options.ts'
import { Reconciler } from '../reconcile/reconciler.ts'
import { Attachments } from '../service/attachments.ts'
import { Calls } from '../service/calls.ts'
import { DeviceHealth } from '../service/device-health.ts'
import { HostPresence } from '../service/host-presence.ts'
import { knownTo, recall, sign } from '../service/memory.ts'
import { ANY_NETWORK, Networks } from '../service/networks.ts'
import { PortPlan } from '../service/port-plan.ts'
import { reportMissing } from '../service/report-missing.ts'
import { reportUnserved } from '../service/report-unserved.ts'
import { OffloadService } from '../service/service.ts'
import { unlessAborted } from './unless-aborted.ts'
import {
  ATTACHMENTS,
  CALLS,
  CLOCK,
  HARDWARE,
  HOST,
  HEALTH,
  JOURNAL,
  LEDGER,
  LIMITS,
  LOG,
  METRICS,
  NETWORKS,
  PORTS,
  RECONCILER,
  SERVICE,
} from './tokens.ts'

/** What {@link startRuntime} needs of the options: all but the network side. */
export type RuntimeOptions = Omit<AgentOptions, 'listen' | 'tls' | 'metrics' | 'adapter' | 'adapters'> &
  Pick<AgentOptions, 'adapter' | 'adapters'>

/** Everything of an agent but its sockets, started and recovered. Disposing the scope stops it. */
export interface Runtime {
  /** Owner of everything. */
  readonly scope: Scope
  /** What is served. */
  readonly service: OffloadService
  /** What surrounds each call. */
  readonly calls: Calls
  /** Whether the host is there. */
  readonly host: HostPresence
  /** State of the hardware. */
  readonly health: DeviceHealth
  /** Names of the networks served. */
  readonly networks: readonly string[]
  /** Counters and gauges. */
  readonly metrics: AgentMetrics
  /** Keeps the networks as they should be; it runs. */
  readonly reconciler: Reconciler
}

/**
 * Opens the journal, starts hardware and adapters and undoes what a previous run left half done, in this order.
 *
 * @param scope - takes everything that is made; its disposal stops all in reverse order, also after a failure
 * @param signal - gives up starting; what is started already is not concerned
 * @throws OffloadError INVALID_CONFIG, JOURNAL_FAILURE, HARDWARE_FAILURE, ADAPTER_FAILED
 */
export async function startRuntime(scope: Scope, options: RuntimeOptions, signal: AbortSignal): Promise<Runtime> {
  const { stateDir = DEFAULT_STATE_DIR, clock = systemClock } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const log = (options.log ?? stderrLogger()).child({ component: 'agent', node: options.node })
  const adapters = adapterChoice(options)
  const starting: OpContext = { signal: deadline(signal, limits.startTimeoutMs), log }

  scope.value(LOG, log).value(CLOCK, clock).value(LIMITS, limits)
  scope.factory(JOURNAL, () => new SqliteJournal(join(stateDir, 'journal.db'), clock))
  scope.bind(METRICS, AgentMetrics, [])
  scope.bind(HEALTH, DeviceHealth, [HARDWARE, CLOCK, LOG])
  scope.bind(CALLS, Calls, [CLOCK, LIMITS, METRICS, LOG])
  scope.factory(HOST, () => new HostPresence({ clock, limits, log: log.child({ component: 'agent.host' }) }))
  scope.factory(
    ATTACHMENTS,
    (at) =>
      new Attachments({
        journal: at.get(JOURNAL),
        hardware: at.get(HARDWARE),
        networks: at.get(NETWORKS),
        ports: at.get(PORTS),
        health: at.get(HEALTH),
        clock,
        limits,
        log,
      }),
  )
  scope.factory(
    SERVICE,
    (at) =>
      new OffloadService({
        node: options.node,
        instanceId: randomUUID(),
        journal: at.get(JOURNAL),
        networks: at.get(NETWORKS),
        ports: at.get(PORTS),
        health: at.get(HEALTH),
        attachments: at.get(ATTACHMENTS),
        calls: at.get(CALLS),
        host: at.get(HOST),
        limits,
        metrics: at.get(METRICS),
        ledger: at.get(LEDGER),
      }),
  )
  const reconciling = log.child({ component: 'agent.reconciler' })
  scope.factory(LEDGER, (at) => {
    const { repairs } = at.get(METRICS)
    return new RepairLedger({ clock, limits, log: reconciling, observe: ({ action, outcome }) => repairs.inc({ action, outcome }) })
  })
  scope.factory(
    RECONCILER,
    (at) =>
      new Reconciler({
        journal: at.get(JOURNAL),
        networks: at.get(NETWORKS),
        attachments: at.get(ATTACHMENTS),
        ledger: at.get(LEDGER),
        clock,
        limits,
        log: reconciling,
      }),
  )

  // Each get() below makes its part now: disposal is in reverse order of making.
  const journal = scope.get(JOURNAL)
  reportSetAside(journal.setAside, log, scope.get(METRICS).unreadable)
  const step = async <T>(what: string, work: () => Promise<T> | T, fallback: ErrorCode): Promise<T> => {
    try {
      return await unlessAborted((async () => await work())(), starting.signal)
    } catch (error) {
      if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED')
      if (starting.signal.aborted)
        throw new OffloadError('NOT_READY', `${what} did not start within ${limits.startTimeoutMs} ms`, { cause: error })
      throw OffloadError.from(error, fallback, what)
    }
  }
  const create = async <K extends PluginKind>(plugin: ConfiguredPlugin<K>, folder: string): Promise<PluginKinds[K]> => {
    const own = join(stateDir, folder)
    mkdirSync(own, { recursive: true, mode: 0o700 })
    return await step(
      `${plugin.kind} "${plugin.name}"`,
      () => plugin.create({ log: log.child({ plugin: plugin.name }), clock, stateDir: own }),
      'INTERNAL',
    )
  }

  const hardware = await create(options.hardware, HARDWARE_FOLDER)
  const life = new AbortController()
  const stopHardware = async (): Promise<void> => {
    life.abort(new OffloadError('CANCELLED', 'the agent is stopping'))
    await hardware[Symbol.asyncDispose]?.()
  }
  scope.factory(HARDWARE, () => hardware, { dispose: stopHardware }).get(HARDWARE)
  const card = `hardware "${hardware.name}"`
  await step(card, () => hardware.start(life.signal), 'HARDWARE_FAILURE')
  const ports = await step(card, () => hardware.ports(starting), 'HARDWARE_FAILURE')

  const made = new Map<ConfiguredPlugin<'adapter'>, CniAdapter>()
  const makeAdapter = async (network: string, plugin: ConfiguredPlugin<'adapter'>): Promise<CniAdapter> => {
    // "_" cannot begin a network's name, so that no network's folder is taken by "*".
    const adapter = await create(plugin, join('adapters', network === ANY_NETWORK ? '_any' : network))
    const to = token<CniAdapter>(`agent.adapter.${network}`)
    scope.factory(to, () => adapter).get(to)
    made.set(plugin, adapter)
    return adapter
  }
  const networks = new Map<string, CniAdapter>()
  for (const [network, plugin] of Object.entries(adapters)) networks.set(network, made.get(plugin) ?? (await makeAdapter(network, plugin)))
  const served = new Networks(networks, options.forget)
  const plan = new PortPlan(served, options.ports ?? {}, ports)
  scope.value(NETWORKS, served).value(PORTS, plan)
  const memory = { journal, networks: served, ports: plan }
  sign(memory)
  const inUse = new Map(journal.all().map((row) => [formatVfId(row.vf), served.makerOf(row)]))
  for (const adapter of served.adapters) {
    // A port that an attachment of another adapter still has, or of a network that none serves any more, is not to be touched.
    const seen = ports.map((port) => {
      const id = formatVfId(port.vf)
      return inUse.has(id) && inUse.get(id) !== adapter ? { ...port, shared: true } : plan.seenBy(adapter, port)
    })
    const what = `adapter "${adapter.name}"`
    await step(what, () => adapter.start?.(seen, starting, knownTo(adapter, memory)), 'ADAPTER_FAILED')
    await step(what, () => recall(adapter, memory, starting), 'ADAPTER_FAILED')
  }

  const [health, attachments, metrics, host] = [scope.get(HEALTH), scope.get(ATTACHMENTS), scope.get(METRICS), scope.get(HOST)]
  const { crypto } = hardware
  metrics.observe({ attachments: () => journal.counts(), retrying: () => attachments.retrying, host: () => host.state, crypto })
  health.start()
  reportUnserved({ journal, networks: served }, log)
  await step('recovery', () => attachments.recover(), 'INTERNAL')
  await step('recovery', () => reportMissing({ journal, networks: served, callTimeoutMs: limits.callTimeoutMs }, starting), 'INTERNAL')
  const reconciler = scope.get(RECONCILER)
  reconciler.start()
  return { scope, service: scope.get(SERVICE), calls: scope.get(CALLS), host, health, networks: [...networks.keys()], metrics, reconciler }
}

const adapterChoice = ({
  adapter,
  adapters,
}: Pick<AgentOptions, 'adapter' | 'adapters'>): Readonly<Record<string, ConfiguredPlugin<'adapter'>>> => {
  if (adapter !== undefined) return { [ANY_NETWORK]: adapter }
  if (adapters === undefined || Object.keys(adapters).length === 0)
    throw new OffloadError('INVALID_CONFIG', 'adapters is empty: an agent needs at least one adapter', {
      hint: 'Give "adapter" for all networks, or "adapters" by network name.',
    })
  for (const network of Object.keys(adapters))
    if (network !== ANY_NETWORK && !cniName.safeParse(network).success)
      throw new OffloadError('INVALID_CONFIG', `adapters: ${JSON.stringify(network)} is no network name`)
  return adapters
}
