import { randomBytes } from 'node:crypto'
import type { CardEnvironment } from '../host/environment.ts'
import type { FakeKernel } from '../kernel/fake-kernel.ts'
import type { PciDriver } from '../pci/driver.ts'
import type { PciFunction } from '../pci/function.ts'
import { SDP_LIMIT } from './layout.ts'

/** Bus of the only uplink that has something at its other end. */
const CABLED_UPLINK = '0002:04:00.0'

/** Drivers that only have their functions: what they do is not seen in files. */
export function plainDriver(name: string, module: string | undefined, ids: readonly string[]): PciDriver {
  return { name, ...(module === undefined ? {} : { module }), ids, probe: () => {}, remove: () => {} }
}

/** `rvu_af`: enables the virtual functions that its firmware has, and takes no orders about them. */
export function rvuAf(kernel: FakeKernel, { vfs }: CardEnvironment): PciDriver {
  return {
    name: 'rvu_af',
    module: 'rvu_af',
    ids: ['177d:a065'],
    probe: async (fn) => {
      kernel.log.of('rvu_af', fn.address, 'Using default mkex profile')
      if (fn.spec.sriov !== undefined) await kernel.bus.enableVfs(fn, Math.min(vfs + 1, SDP_LIMIT.af))
    },
    remove: (fn) => kernel.bus.disableVfs(fn),
  }
}

/** `octeontx2-sdp`: as {@link rvuAf}, but another number can be asked for once there are none, which cuts off the host. */
export function octeontx2Sdp(kernel: FakeKernel, { vfs }: CardEnvironment): PciDriver {
  return {
    name: 'octeontx2-sdp',
    module: 'octeontx2_sdp',
    ids: ['177d:a0f6'],
    probe: (fn) => kernel.bus.enableVfs(fn, vfs + 1),
    remove: (fn) => kernel.bus.disableVfs(fn),
    configureSriov: async (fn, count) => {
      const possible = Math.min(count, SDP_LIMIT.sdp)
      if (count === 0) await kernel.bus.disableVfs(fn)
      else await kernel.bus.enableVfs(fn, possible)
      return possible
    },
  }
}

/** `rvu_nicpf`: the uplinks. */
export function rvuNicPf(kernel: FakeKernel, { netdevs }: CardEnvironment): PciDriver {
  return {
    name: 'rvu_nicpf',
    module: 'rvu_nicpf',
    ids: ['177d:a063'],
    probe: async (fn) => {
      const wire = `up${busOf(fn)}`
      await netdevs.create({ side: 'dpu', wire, name: netdevName(fn), mac: `00:0f:b7:11:22:${busOf(fn)}`, pci: fn.address })
      if (fn.address !== CABLED_UPLINK) await netdevs.setCarrier('dpu', wire, false)
      fn.hasNetdev = true
    },
    remove: async (fn) => {
      fn.hasNetdev = false
      await kernel.bus.disableVfs(fn)
      await netdevs.remove('dpu', `up${busOf(fn)}`)
    },
    configureSriov: async (fn, count) => {
      if (count === 0) await kernel.bus.disableVfs(fn)
      else await kernel.bus.enableVfs(fn, count)
      return count
    },
  }
}

/** `rvu_nicvf`: the ends of the host's functions on the DPU, and virtual functions of uplinks. */
export function rvuNicVf({ netdevs }: CardEnvironment): PciDriver {
  const wireOf = (fn: PciFunction): string => (fn.spec.device === 'a0f7' ? `sdp${fn.index}` : `up${busOf(fn)}v${fn.index}`)
  return {
    name: 'rvu_nicvf',
    module: 'rvu_nicvf',
    ids: ['177d:a0f7', '177d:a064', '177d:a0f8'],
    probe: async (fn) => {
      await netdevs.create({ side: 'dpu', wire: wireOf(fn), name: netdevName(fn), mac: randomMac(), pci: fn.address })
      fn.hasNetdev = true
    },
    remove: async (fn) => {
      fn.hasNetdev = false
      await netdevs.remove('dpu', wireOf(fn))
    },
  }
}

/** The name that udev gives an interface by its place: domain, bus and slot of the physical function in decimal, then the virtual one. */
function netdevName(fn: PciFunction): string {
  const [domain = '', bus = '', slot = ''] = (fn.pf ?? fn).address.split(/[:.]/)
  const place = `P${Number.parseInt(domain, 16)}p${Number.parseInt(bus, 16)}s${Number.parseInt(slot, 16)}`
  return `en${place}${fn.pf === undefined ? '' : `v${fn.index}`}`
}

const busOf = (fn: PciFunction): string => fn.address.split(':')[1] ?? ''

/** They have none of their own: the kernel makes one up whenever an interface is made. */
function randomMac(): string {
  return `be:52:${[...randomBytes(4)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`
}
