import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, type Logger, silentLogger, systemClock, type VirtualFunction } from '@cni-offload/sdk'
import { FakeKubelet } from '@cni-offload/testing/kubelet'
import { Registry } from 'prom-client'
import { DeviceInfoFiles } from '../../src/device-info/device-info-files.ts'
import type { DevicePluginConfig } from '../../src/device-plugin/config.ts'
import { DevicePlugin } from '../../src/device-plugin/device-plugin.ts'
import type { VfInventory } from '../../src/device-plugin/inventory.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'

export const RESOURCE = 'example.com/vf'

export interface PluginLabOptions {
  readonly vfs: readonly VirtualFunction[]
  readonly config?: Partial<DevicePluginConfig>
  readonly clock?: Clock
  readonly log?: Logger
}

/** A journal and a device plugin on it, in a folder of their own, for a kubelet that the test starts and stops. */
export class PluginLab implements AsyncDisposable {
  readonly root: string
  readonly kubelet: FakeKubelet
  readonly journal: SqliteJournal
  readonly registry: Registry = new Registry()
  readonly plugin: DevicePlugin
  readonly inventory: VfInventory
  readonly files: DeviceInfoFiles
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  private constructor(root: string, { vfs, config, clock = systemClock, log = silentLogger }: PluginLabOptions) {
    this.root = root
    this.kubelet = new FakeKubelet(join(root, 'dp'))
    this.files = new DeviceInfoFiles(join(root, 'devinfo'))
    this.plugin = new DevicePlugin({ resources: [{ name: RESOURCE }], dir: join(root, 'dp'), ...config })
    this.journal = new SqliteJournal(join(root, 'journal.db'), clock, this.plugin.changes.notify)
    this.inventory = this.plugin.inventory(this.journal)
    this.inventory.syncVfs(vfs)
    this.#running = this.plugin.run(this.inventory, { registry: this.registry, files: this.files, clock, log }, this.#stop.signal)
  }

  static async make(options: PluginLabOptions): Promise<PluginLab> {
    return new PluginLab(await mkdtemp(join(tmpdir(), 'dp-')), options)
  }

  get dir(): string {
    return this.kubelet.dir
  }

  /** Ids that kubelet takes for healthy, sorted. */
  healthy(resource = RESOURCE): string[] {
    return [...(this.kubelet.devices(resource) ?? [])].flatMap(([id, { healthy }]) => (healthy ? [id] : [])).toSorted()
  }

  async untilHealthy(count: number, resource = RESOURCE): Promise<void> {
    await this.kubelet.until(() => this.healthy(resource).length === count, `${count} healthy devices of ${resource}`)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.kubelet[Symbol.asyncDispose]()
    this.journal[Symbol.dispose]()
    await rm(this.root, { recursive: true, force: true })
  }
}
