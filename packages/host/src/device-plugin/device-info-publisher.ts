import type { VirtualFunction } from '@cni-offload/sdk'
import { type Clock, type Logger, vfDeviceId } from '@cni-offload/sdk'
import { vfDeviceInfo } from '../device-info/device-info.ts'
import type { DeviceInfoFiles } from '../device-info/device-info-files.ts'
import { type Changes, Wake } from './wake.ts'

/** What a {@link DeviceInfoPublisher} is made of. */
export interface DeviceInfoPublisherDeps {
  /** VFs that kubelet hands out by name, with their resource. */
  readonly vfs: () => readonly { readonly resource: string; readonly vf: VirtualFunction }[]
  /** Tells when they may have changed. */
  readonly changes: Changes
  /** The files. */
  readonly files: DeviceInfoFiles
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

const RETRY_MS = 10_000

/**
 * Keeps a device information file for every VF that kubelet hands out by name: the meta-plugin looks there for what the id that
 * it got from kubelet stands for.
 *
 * @see https://github.com/k8snetworkplumbingwg/device-info-spec/blob/main/SPEC.md
 */
export class DeviceInfoPublisher {
  readonly #deps: DeviceInfoPublisherDeps
  readonly #written = new Set<string>()

  constructor(deps: DeviceInfoPublisherDeps) {
    this.#deps = deps
  }

  /** Works until the signal aborts, and then removes the files. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { changes, clock, log } = this.#deps
    const wake = new Wake()
    using _subscription = changes.subscribe(() => wake.call())
    while (!signal.aborted) {
      const failure = await this.#publish().catch((error: unknown) => error)
      if (failure !== undefined) log.error({ err: failure, retryMs: RETRY_MS }, 'device information of VFs')
      await wake.wait(signal, clock, failure === undefined ? undefined : RETRY_MS)
    }
    for (const name of this.#written)
      await this.#deps.files.remove('dp', name).catch((error: unknown) => log.warn({ err: error }, 'device information is left'))
  }

  async #publish(): Promise<undefined> {
    const { files } = this.#deps
    for (const { resource, vf } of this.#deps.vfs()) {
      const info = vfDeviceInfo(vf)
      const name = files.devicePluginFile(resource, vfDeviceId(vf))
      if (info === undefined || this.#written.has(name)) continue
      await files.removeUnfinished('dp', name, vf.pciAddress)
      await files.write('dp', name, info)
      this.#written.add(name)
    }
  }
}
