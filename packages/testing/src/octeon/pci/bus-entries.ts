import { posix } from 'node:path'
import { parseYesNo } from '../kernel/numbers.ts'
import { attribute, type Entries, type Entry, folder, link, readable, writable } from '../tree/entry.ts'
import type { PciBus } from './bus.ts'
import type { PciDriver } from './driver.ts'
import type { PciFunction } from './function.ts'
import { type FunctionView, functionEntries } from './function-entries.ts'

/** `/sys/bus/pci`. */
export function busEntries(bus: PciBus): Entries {
  return {
    // Every look at any function comes through here.
    devices: folder(
      () => Object.fromEntries(bus.functions.map((fn) => [fn.address, deviceLink(fn)])),
      (address) => {
        const fn = bus.function(address)
        return fn === undefined ? undefined : deviceLink(fn)
      },
    ),
    drivers: folder(() => Object.fromEntries(bus.drivers.map((driver) => [driver.name, driverFolder(bus, driver)]))),
    drivers_autoprobe: attribute(
      () => (bus.autoprobe ? '1\n' : '0\n'),
      (text) => void (bus.autoprobe = parseYesNo(text)),
    ),
    drivers_probe: writable((text) => bus.probe(text)),
    rescan: writable(() => bus.rescan()),
    uevent: writable(() => {}),
  }
}

const deviceLink = ({ path }: PciFunction): Entry => link(`../../../${path.slice('/sys/'.length)}`)

/** `/sys/devices`, as far as PCI is concerned: buses in bridges in buses. */
export function deviceEntries(view: FunctionView): Entries {
  return level(view, '')
}

/** `/sys/kernel/iommu_groups`. */
export function groupEntries(bus: PciBus): Entries {
  return Object.fromEntries(
    [...bus.groups.all].map(([number, members]): [string, Entry] => [
      String(number),
      folder(() => ({
        type: readable('DMA\n'),
        name: bus.groups.enabled ? undefined : readable('vfio-noiommu\n'),
        devices: folder(() =>
          Object.fromEntries(
            [...members].map(({ address, path }) => [address, link(posix.relative(`/sys/kernel/iommu_groups/${number}/devices`, path))]),
          ),
        ),
      })),
    ]),
  )
}

function driverFolder(bus: PciBus, driver: PciDriver): Entry {
  const path = `/sys/bus/pci/drivers/${driver.name}`
  return folder(() => ({
    bind: writable((text) => bus.bind(driver, text)),
    unbind: writable((text) => bus.unbind(driver, text)),
    new_id: writable((text) => bus.addId(driver, text)),
    remove_id: writable((text) => bus.removeId(driver, text)),
    uevent: writable(() => {}),
    module: driver.module === undefined ? undefined : link(`../../../../module/${driver.module}`),
    ...Object.fromEntries(
      bus.functions.filter((fn) => fn.driver === driver).map((fn) => [fn.address, link(posix.relative(path, fn.path))]),
    ),
  }))
}

/** What lies in one folder of `/sys/devices`: functions of a bus, which are folders of those behind them if they are bridges. */
function level(view: FunctionView, parent: string): Entries {
  return Object.fromEntries((view.bus.folders.get(parent) ?? []).map((name): [string, Entry] => [name, below(view, parent, name)]))
}

/** One of them. Of a bus, which is a folder and nothing else, one function is found without all the others. */
function below(view: FunctionView, parent: string, name: string): Entry {
  const path = parent === '' ? name : `${parent}/${name}`
  const fn = view.bus.function(name)
  if (fn !== undefined) return folder(() => ({ ...functionEntries(fn, view), ...level(view, path) }))
  const one = (child: string): Entry | undefined =>
    view.bus.folders.get(path)?.includes(child) === true ? below(view, path, child) : undefined
  return folder(() => level(view, path), one)
}
