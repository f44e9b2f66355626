import { posix } from 'node:path'
import type { Link } from '@cni-offload/linux'
import type { KernelLog } from '../kernel/log.ts'
import { Refusal } from '../system-error.ts'
import { attribute, type Entries, folder, link, readable, writable } from '../tree/entry.ts'
import type { PciBus } from './bus.ts'
import type { PciFunction } from './function.ts'
import { netFolder } from './net-entries.ts'
import { sriovAttributes } from './sriov-attributes.ts'

/** As much as fits into the page of an attribute. */
const OVERRIDE_LIMIT = 4_095

/** What the folders of functions need to know. */
export interface FunctionView {
  /** The bus. */
  readonly bus: PciBus
  /** Where the kernel complains. */
  readonly log: KernelLog
  /** Interfaces of a function that lie in the machine's own network namespace. */
  readonly netdevs: (fn: PciFunction) => Promise<readonly Link[]>
}

/** The files of a function. */
export function functionEntries(fn: PciFunction, view: FunctionView): Entries {
  const { spec, driver } = fn
  const device = spec.device.toUpperCase()
  const subsystem = spec.subsystem.toUpperCase()
  const vendor = spec.vendor.toUpperCase()
  const classes = spec.class.toUpperCase()
  const ids = `v0000${vendor}d0000${device}sv0000${vendor}sd0000${subsystem}`
  const modalias = `pci:${ids}bc${classes.slice(0, 2)}sc${classes.slice(2, 4)}i${classes.slice(4)}`
  const to = (target: string): string => posix.relative(fn.path, target)
  return {
    vendor: readable(`0x${spec.vendor}\n`),
    device: readable(`0x${spec.device}\n`),
    subsystem_vendor: readable(`0x${spec.vendor}\n`),
    subsystem_device: readable(`0x${spec.subsystem}\n`),
    class: readable(`0x${spec.class}\n`),
    revision: readable(`0x${spec.revision}\n`),
    numa_node: readable('0\n'),
    enable: readable(driver === undefined ? '0\n' : '1\n'),
    irq: readable('0\n'),
    local_cpulist: readable('0-23\n'),
    power_state: readable('D0\n'),
    reset_method: readable('flr bus\n'),
    modalias: readable(`${modalias}\n`),
    uevent: readable(
      `${driver === undefined ? '' : `DRIVER=${driver.name}\n`}PCI_CLASS=${classes.replace(/^0/, '')}\nPCI_ID=${vendor}:${device}\n` +
        `PCI_SUBSYS_ID=${vendor}:${subsystem}\nPCI_SLOT_NAME=${fn.address}\nMODALIAS=${modalias}\n`,
    ),
    driver_override: attribute(
      () => `${fn.driverOverride ?? '(null)'}\n`,
      (text) => setOverride(fn, text),
    ),
    subsystem: link(to('/sys/bus/pci')),
    driver: driver === undefined ? undefined : link(to(`/sys/bus/pci/drivers/${driver.name}`)),
    iommu_group: fn.iommuGroup === undefined ? undefined : link(to(`/sys/kernel/iommu_groups/${fn.iommuGroup}`)),
    physfn: fn.pf === undefined ? undefined : link(`../${fn.pf.address}`),
    net: fn.hasNetdev
      ? folder(async () => Object.fromEntries((await view.netdevs(fn)).map((net) => [net.name, netFolder(net, '../..')])))
      : undefined,
    remove: writable(() => view.bus.unplug(fn)),
    rescan: writable(() => view.bus.rescan()),
    ...sriovAttributes(fn, view.log),
    ...fn.attributes,
  }
}

function setOverride(fn: PciFunction, text: string): void {
  if (text.length >= OVERRIDE_LIMIT) throw new Refusal('EINVAL')
  const name = text.split('\n')[0] ?? ''
  fn.driverOverride = name === '' ? undefined : name
}
