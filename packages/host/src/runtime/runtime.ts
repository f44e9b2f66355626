import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bootId, createLinuxNet, getrusage, OWN_NETNS } from '@cni-offload/linux'
import { createOffloadClient } from '@cni-offload/protocol'
import { type Clock, type HostDevice, type Logger, OffloadError, systemClock } from '@cni-offload/sdk'
import { KeyedMutex, Limiter, RepairLedger, type Scope } from '@cni-offload/sdk/runtime'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { type AgentClient, AgentLink } from '../agent/agent-link.ts'
import { AttachmentInfo } from '../device-info/attachment-info.ts'
import { DeviceInfoFiles } from '../device-info/device-info-files.ts'
import { DevicePlugin } from '../device-plugin/device-plugin.ts'
import { provideIpam, startIpam } from '../ipam/provide.ts'
import { SqliteJournal } from '../journal/sqlite-journal.ts'
import { DEFAULT_LIMITS, type HostLimits } from '../limits.ts'
import { HostMetrics } from '../metrics/metrics.ts'
import { provideFallbacks, startFallbacks } from '../fallback/provide.ts'
import { DEFAULT_SOCKET, DEFAULT_STATE_DIR, type HostOptions, type HostParts } from '../options.ts'
import { endEarlierPlugins } from '../plugins/orphans.ts'
import { Reconciler } from '../reconcile/reconciler.ts'
import { claimPath } from '../server/claim-path.ts'
import { RecentFailures } from '../server/recent-failures.ts'
import { Drainer } from '../undo/drainer.ts'
import { adoptAttachments, withholdUnknown } from '../undo/rebuild.ts'
import { reclaim, recover } from '../undo/recover.ts'
import { Undo } from '../undo/undo.ts'
import type { HostNetns, VerbDeps } from '../verbs/deps.ts'
import {
  AGENT,
  CLIENT,
  DEVICE,
  DEVICE_INFO,
  DRAINER,
  FALLBACK_JOURNAL,
  FALLBACKS,
  IPAM,
  IPAM_JOURNAL,
  IPAM_UNDO,
  JOURNAL,
  LEDGER,
  LOCKS,
  METRICS,
  NET,
  RECONCILER,
  UNDO,
  VERBS,
} from './tokens.ts'
import { watchDevice } from './watch-device.ts'

/** A daemon's parts, started. */
export interface Runtime {
  /** What the verbs work with. */
  readonly verbs: VerbDeps
  /** Metrics. */
  readonly metrics: HostMetrics
  /** Limits that hold. */
  readonly limits: HostLimits
  /** Time. */
  readonly clock: Clock
  /** What the reconciler did. */
  readonly ledger: RepairLedger
  /** CNI calls that failed lately. */
  readonly failures: RecentFailures
  /** The way to the agent, for looking only. */
  readonly client: Pick<AgentClient, 'list'>
  /** Ends the work in the background; resolves when it has ended. */
  stop(): Promise<void>
}

/** What holds for one run of a daemon. */
export interface Facts {
  /** Limits that hold. */
  readonly limits: HostLimits
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Boot of this host. */
  readonly bootId: string
  /** Folder for journals and plugin state. */
  readonly stateDir: string
  /** What is advertised to kubelet. */
  readonly devicePlugin: DevicePlugin
}

/**
 * Puts the daemon together in a scope, undoes what a crash left, and starts what runs in the background. A second daemon on
 * the same socket or stateDir is refused before it touches anything.
 *
 * @throws OffloadError INVALID_CONFIG, JOURNAL_FAILURE, HARDWARE_FAILURE, IO_FAILURE, DEADLINE_EXCEEDED
 */
export async function startRuntime(
  scope: Scope,
  options: HostOptions,
  parts: HostParts,
  log: Logger,
  signal: AbortSignal,
): Promise<Runtime> {
  const { clock = systemClock, stateDir = DEFAULT_STATE_DIR } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  // To a second daemon all that the first one does looks like the remains of a crash: it must not get to undoing anything.
  await claimPath(options.socket ?? DEFAULT_SOCKET)
  await mkdir(join(stateDir, 'hardware'), { recursive: true, mode: 0o700 })
  const devicePlugin = new DevicePlugin(options.devicePlugin)
  const facts: Facts = { limits, clock, log, stateDir, bootId: await bootId(options.root), devicePlugin }
  provide(scope, options, parts, facts)
  // The bindings take some milliseconds to load: now, not with the first caller.
  getrusage('self')

  // Opening it locks the stateDir: before the hardware is touched.
  const journal = scope.get(JOURNAL)
  const { unreadable } = scope.get(METRICS)
  reportSetAside(journal.setAside, log, unreadable)
  const net = scope.get(NET)
  const device = await makeDevice(scope, options, facts)
  const path = parts.netns ?? OWN_NETNS
  const identity = await net.netnsIdentity(path)
  if (identity === undefined) throw new OffloadError('INVALID_CONFIG', `${path} is no network namespace`)
  provideFallbacks(scope, options, facts, path)
  provideIpam(scope, options, parts, facts, path)
  provideVerbs(scope, facts, options, { path, identity })
  provideReconciler(scope, facts)

  const vfs = await device.discover({ signal, log })
  const inventory = devicePlugin.inventory(journal)
  inventory.syncVfs(vfs)
  await withholdUnknown({ device, journal, log, signal }, vfs)
  await reclaim({ device, journal, log, signal }, vfs)
  const pluginJournals = [scope.get(FALLBACK_JOURNAL), scope.get(IPAM_JOURNAL)]
  await endEarlierPlugins(pluginJournals, facts, signal)
  const undone = await recover(journal, scope.get(UNDO), facts.bootId, log)
  const fallbacks = startFallbacks(scope, facts)
  const giveBack = await startIpam(scope, facts)
  for (const { setAside } of pluginJournals) reportSetAside(setAside, log, unreadable)
  log.info({ undone, ...journal.counts() }, 'journal and hardware are ready')

  const end = new AbortController()
  const { registry } = scope.get(METRICS)
  const devicePluginDeps = {
    registry,
    files: new DeviceInfoFiles(options.deviceInfoDir),
    clock,
    log: log.child({ component: 'host.device-plugin' }),
  }
  const drainer = scope.get(DRAINER)
  const background = [
    scope.get(AGENT).run(end.signal, () => {
      drainer.wake(true)
      fallbacks.agentIsBack()
    }),
    drainer.run(end.signal),
    fallbacks.run(end.signal),
    giveBack(end.signal),
    scope.get(RECONCILER).run(end.signal),
    watchDevice({ device, journal: inventory, clock, log, signal: end.signal }),
    devicePlugin.run(inventory, devicePluginDeps, end.signal),
  ]
  return {
    verbs: scope.get(VERBS),
    metrics: scope.get(METRICS),
    ledger: scope.get(LEDGER),
    failures: new RecentFailures(),
    client: scope.get(CLIENT),
    limits,
    clock,
    async stop() {
      end.abort(new OffloadError('CANCELLED', 'the host daemon is stopping'))
      await Promise.all(background)
    },
  }
}

function provide(scope: Scope, options: HostOptions, parts: HostParts, facts: Facts): void {
  const { limits, clock, log, bootId: boot, stateDir, devicePlugin } = facts
  const { node } = options
  if (parts.net === undefined) scope.factory(NET, () => createLinuxNet())
  else scope.value(NET, parts.net)
  if (parts.agent === undefined)
    scope.factory(CLIENT, () => createOffloadClient({ ...options.agent, node, log: log.child({ component: 'host.client' }) }))
  else scope.value(CLIENT, parts.agent)
  scope.factory(JOURNAL, () => new SqliteJournal(join(stateDir, 'journal.db'), clock, devicePlugin.changes.notify))
  scope.factory(
    METRICS,
    (from) =>
      new HostMetrics(
        () => from.get(JOURNAL).counts(),
        () => from.get(DRAINER).oldestMs,
      ),
  )
  scope.factory(LOCKS, () => new KeyedMutex())
  scope.factory(
    AGENT,
    (from) =>
      new AgentLink({
        client: from.get(CLIENT),
        journal: from.get(JOURNAL),
        beforeResync: (signal) => adoptAttachments({ client: from.get(CLIENT), journal: from.get(JOURNAL), bootId: boot, log }, signal),
        node,
        bootId: boot,
        limits,
        clock,
        log: log.child({ component: 'host.agent' }),
        observer: {
          connected(connected) {
            from.get(METRICS).connected(connected)
            devicePlugin.connected(connected)
          },
          resynced(event) {
            from.get(METRICS).resynced(event)
            from.get(RECONCILER).heard(event)
          },
        },
      }),
  )
}

function provideVerbs(
  scope: Scope,
  { limits, clock, log, bootId: boot, devicePlugin }: Facts,
  { deviceInfoDir }: HostOptions,
  hostNetns: HostNetns,
): void {
  scope.factory(DEVICE_INFO, (from) => new AttachmentInfo(new DeviceInfoFiles(deviceInfoDir), from.get(DEVICE)))
  scope.factory(
    UNDO,
    (from) =>
      new Undo({
        journal: from.get(JOURNAL),
        device: from.get(DEVICE),
        agent: from.get(AGENT),
        deviceInfo: from.get(DEVICE_INFO),
        ipam: from.get(IPAM_UNDO),
        net: from.get(NET),
        limits,
      }),
  )
  scope.factory(DRAINER, (from) => {
    const agent = from.get(AGENT)
    return new Drainer({
      journal: from.get(JOURNAL),
      undo: from.get(UNDO),
      locks: from.get(LOCKS),
      connected: () => agent.connected,
      clock,
      log: log.child({ component: 'host.drainer' }),
    })
  })
  scope.factory(VERBS, (from) => {
    const drainer = from.get(DRAINER)
    return {
      journal: from.get(JOURNAL),
      device: from.get(DEVICE),
      net: from.get(NET),
      agent: from.get(AGENT),
      deviceInfo: from.get(DEVICE_INFO),
      fallback: from.get(FALLBACKS),
      ipam: from.get(IPAM),
      undo: from.get(UNDO),
      leftToQueue: () => drainer.wake(),
      locks: from.get(LOCKS),
      adds: new Limiter(limits.adds),
      limits,
      hostNetns,
      bootId: boot,
      ipv6: existsSync('/proc/sys/net/ipv6'),
      counted: devicePlugin.counted,
    }
  })
}

function provideReconciler(scope: Scope, { limits, clock, log }: Facts): void {
  const own = log.child({ component: 'host.reconciler' })
  scope.factory(LEDGER, (from) => new RepairLedger({ clock, limits, log: own, observe: (record) => from.get(METRICS).repaired(record) }))
  scope.factory(RECONCILER, (from) => new Reconciler({ ...from.get(VERBS), ledger: from.get(LEDGER), clock, limits, log: own }))
}

/** A plugin is made asynchronously, a scope's factories are not: it is made here and given up by the scope. */
async function makeDevice(scope: Scope, options: HostOptions, { log, clock, stateDir }: Facts): Promise<HostDevice> {
  const { hardware } = options
  const device = await hardware.create({
    log: log.child({ component: 'host.hardware', plugin: hardware.name }),
    clock,
    stateDir: join(stateDir, 'hardware'),
  })
  scope.factory(DEVICE, () => device)
  return scope.get(DEVICE)
}
