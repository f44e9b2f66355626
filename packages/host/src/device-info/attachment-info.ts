import { formatVfId, type HostDevice, type Logger, OffloadError, type OpContext } from '@cni-offload/sdk'
import type { AttachIntent, AttachmentRow } from '../journal/types.ts'
import { vfDeviceInfo } from './device-info.ts'
import type { DeviceInfoFiles } from './device-info-files.ts'

/** The part of an attachment that says which file is wanted, and which VF it is about. */
export type InformedAttachment = Pick<AttachmentRow, 'intent' | 'vf' | 'pciAddress'>

/**
 * The device information file of each attachment whose runtime asks for one by the capability `CNIDeviceInfoFile`. The path
 * is part of what the journal keeps of an attachment, so that its end needs to be told nothing.
 *
 * @see https://github.com/k8snetworkplumbingwg/device-info-spec/blob/main/SPEC.md#5-new-cni-plugin-arguments
 */
export class AttachmentInfo {
  readonly #files: DeviceInfoFiles
  readonly #device: Pick<HostDevice, 'discover'>

  constructor(files: DeviceInfoFiles, device: Pick<HostDevice, 'discover'>) {
    this.#files = files
    this.#device = device
  }

  /** Refuses a path that must not be written to. @throws OffloadError INVALID_NETCONF */
  check(intent: AttachIntent): void {
    this.#fileOf(intent)
  }

  /**
   * Writes the file. One that tells of the same VF already, copied there from a device plugin's by the runtime, is left as it
   * is: it may say more than is known here.
   *
   * @throws OffloadError IO_FAILURE, HARDWARE_FAILURE
   */
  async write(of: InformedAttachment, ctx: OpContext): Promise<void> {
    const file = this.#fileOf(of.intent)
    if (file === undefined) return
    const there = await this.#files.read('cni', file)
    if (there !== undefined && describes(there, of)) return
    const vf = (await this.#device.discover(ctx)).find(({ id }) => formatVfId(id) === formatVfId(of.vf))
    const info = vfDeviceInfo(vf ?? of)
    if (there !== undefined) ctx.log.warn({ file, there, info }, 'device information of another device is replaced')
    if (info !== undefined) await this.#files.write('cni', file, info)
    else if (there !== undefined) await this.#files.remove('cni', file)
  }

  /**
   * Removes the file if it tells of the attachment's VF, and what a daemon that was killed while it wrote it has left. Another one belongs to whoever has the name now: it is made of the
   * pod's UID, which the next sandbox of the same pod has, too. Never rejects: an attachment must not stay for the sake of a file.
   */
  async remove(of: InformedAttachment, log: Logger): Promise<void> {
    try {
      const file = this.#fileOf(of.intent)
      if (file === undefined) return
      await this.#files.removeUnfinished('cni', file, of.pciAddress)
      const there = await this.#files.read('cni', file)
      if (there !== undefined && describes(there, of)) await this.#files.remove('cni', file)
    } catch (error) {
      log.warn({ err: OffloadError.from(error) }, 'device information was not removed')
    }
  }

  #fileOf({ runtimeConfig }: AttachIntent): string | undefined {
    const path = runtimeConfig['CNIDeviceInfoFile']
    if (path === undefined || path === null || path === '') return undefined
    return this.#files.cniFile(typeof path === 'string' ? path : JSON.stringify(path))
  }
}

function describes({ pci }: { readonly pci?: { readonly 'pci-address': string } | undefined }, of: InformedAttachment): boolean {
  return pci !== undefined && pci['pci-address'] === of.pciAddress
}
