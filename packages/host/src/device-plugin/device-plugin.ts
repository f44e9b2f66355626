import { type Clock, type Logger, parseWith } from '@cni-offload/sdk'
import type { Registry } from 'prom-client'
import type { DeviceInfoFiles } from '../device-info/device-info-files.ts'
import type { AttachmentJournal } from '../journal/types.ts'
import { AgentPresence } from './agent-presence.ts'
import { DEFAULT_AGENT_GRACE_MS, DEFAULT_DEVICE_PLUGIN_DIR, type DevicePluginConfig, devicePluginConfig, isCounted } from './config.ts'
import { DeviceInfoPublisher } from './device-info-publisher.ts'
import { Endpoint } from './endpoint.ts'
import { FolderWatch } from './folder-watch.ts'
import { type VfDevice, VfInventory } from './inventory.ts'
import { DevicePluginMetrics } from './metrics.ts'
import { ResourcePlugin } from './resource-plugin.ts'
import { Changes } from './wake.ts'

/** What a {@link DevicePlugin} works with once the daemon is put together. */
export interface DevicePluginDeps {
  /** Registry of the daemon's metrics. */
  readonly registry: Registry
  /** Device information files. */
  readonly files: DeviceInfoFiles
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/** The VFs as resources of kubelet. Without configuration it advertises nothing and does nothing. */
export class DevicePlugin {
  /** To be notified when health or quarantine of VFs may have changed. */
  readonly changes: Changes = new Changes()
  readonly #config: DevicePluginConfig
  #presence: AgentPresence | undefined

  /** @throws OffloadError INVALID_CONFIG naming field, value and what is expected */
  constructor(config: DevicePluginConfig | undefined) {
    this.#config = config === undefined ? { resources: [] } : parseWith(devicePluginConfig, config, 'devicePlugin', 'INVALID_CONFIG')
  }

  /** Whether kubelet counts the VFs of pods whose ADD names none. */
  get counted(): boolean {
    return this.#config.resources.some(isCounted)
  }

  /** The VFs by resource, in front of the journal. */
  inventory(journal: AttachmentJournal): VfInventory {
    return new VfInventory(journal, this.#config.resources)
  }

  /** Notes whether calls to the agent pass. */
  connected(connected: boolean): void {
    this.#presence?.connected(connected)
  }

  /** Advertises until the signal aborts. Never rejects: what goes wrong with kubelet is no concern of running pods. */
  async run(inventory: VfInventory, deps: DevicePluginDeps, signal: AbortSignal): Promise<void> {
    const { resources, dir = DEFAULT_DEVICE_PLUGIN_DIR, agentGraceMs: graceMs = DEFAULT_AGENT_GRACE_MS } = this.#config
    if (resources.length === 0) return
    const { clock, log, files } = deps
    const presence = new AgentPresence({ graceMs, clock, changed: this.changes.notify, signal })
    this.#presence = presence
    const devicesOf = (resource: (typeof resources)[number]): ReadonlyMap<string, VfDevice> => {
      const devices = inventory.devices(resource)
      return presence.serving ? devices : new Map([...devices].map(([id, device]) => [id, { ...device, healthy: false }]))
    }
    const metrics = new DevicePluginMetrics(deps.registry, () =>
      resources.map((resource) => {
        const devices = [...devicesOf(resource).values()]
        const healthy = devices.filter((device) => device.healthy).length
        return { resource: resource.name, healthy, unhealthy: devices.length - healthy }
      }),
    )
    using folder = new FolderWatch(dir, log)
    const endpoints = resources.map((resource) => {
      const named = log.child({ resource: resource.name })
      if (inventory.members(resource).length === 0) named.warn({ select: resource.select }, 'no VF belongs to the resource')
      const devices = (): ReadonlyMap<string, VfDevice> => devicesOf(resource)
      const api = new ResourcePlugin({ resource, devices, changes: this.changes, metrics, clock, log: named })
      return new Endpoint({ resource: resource.name, api, dir, folder, metrics, clock, log: named })
    })
    const exact = resources.filter((resource) => !isCounted(resource))
    const publisher = new DeviceInfoPublisher({
      vfs: () => exact.flatMap((resource) => inventory.members(resource).map((vf) => ({ resource: resource.name, vf }))),
      changes: this.changes,
      files,
      clock,
      log,
    })
    await Promise.all([...endpoints.map((endpoint) => endpoint.run(signal)), publisher.run(signal)])
  }
}
