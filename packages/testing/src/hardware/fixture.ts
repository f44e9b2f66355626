import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { DpuDevice, HostDevice, VfAdminSettings, VfId } from '@cni-offload/sdk'

/** A hardware backend under test: all functions free, both halves made and the DPU half started. */
export interface HardwareFixture extends AsyncDisposable {
  /** Kernel access. */
  readonly net: LinuxNet
  /** The host half. */
  readonly host: HostDevice
  /** The DPU half, started. */
  readonly dpu: DpuDevice
  /** Namespace where free VFs lie. */
  readonly hostNetns: NetnsPath
  /** Namespace where ports lie. */
  readonly dpuNetns: NetnsPath
  /** All functions that the device has, at least two. */
  readonly vfs: readonly VfId[]
  /** Makes another instance of the host half, as after a restart of the daemon; the case disposes it. */
  restartHost(): Promise<HostDevice>
  /**
   * Whether a function survives the end of the namespace that it is in: by itself, as a PCI function does, or because the
   * backend makes it anew. If not, `release` must say so.
   */
  readonly survivesNetnsLoss: boolean
  /**
   * What the physical function makes of a function, as somebody sees it who does not ask the backend. Without, the backend is believed as far
   * as it does not contradict itself.
   */
  enforced?(vf: VfId): Promise<VfAdminSettings>
  /** Gives a free function to a userspace driver, `vfio-pci` for one, until what it returns is disposed. Without, that is not tried. */
  giveToPrograms?(vf: VfId): Promise<AsyncDisposable>
}
