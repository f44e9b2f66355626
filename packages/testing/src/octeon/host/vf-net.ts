import type { LinuxNet, NetnsPath, NetOp, VfAdmin } from '@cni-offload/linux'
import type { VfAdminSettings } from '@cni-offload/sdk'
import { isOfFunction } from '../wire/netdevs.ts'
import { HOST_PF } from './host-pf.ts'

/** Whoever answers for the physical function. */
export interface VfAdminAccess extends Partial<AsyncDisposable> {
  /** What its driver tells of the VFs. */
  vfs(): Promise<VfAdmin[]>
  /** Asks it for settings of a VF. @throws OffloadError KERNEL_REFUSED */
  set(vf: number, settings: VfAdminSettings): Promise<void>
}

/**
 * Kernel access of a fake card's host: questions about VFs and requests to set them go to the fake driver where the interface is that of the
 * card's physical function. All else goes to the kernel, in which that interface is an ordinary one and knows no VFs. Both are given up with it.
 */
export function netOfHost(net: LinuxNet, pf: VfAdminAccess): LinuxNet {
  const isPf = async (netns: NetnsPath, dev: string): Promise<boolean> => {
    const link = await net.link(netns, dev)
    return link !== undefined && isOfFunction(link, HOST_PF)
  }
  const own: Pick<LinuxNet, 'vfs' | 'apply' | typeof Symbol.asyncDispose> = {
    vfs: async (netns, dev) => ((await isPf(netns, dev)) ? await pf.vfs() : await net.vfs(netns, dev)),
    async apply(netns, ops) {
      let plain: NetOp[] = []
      for (const op of ops) {
        if (op.op !== 'vf.set' || !(await isPf(netns, op.dev))) plain.push(op)
        else {
          if (plain.length > 0) await net.apply(netns, plain)
          plain = []
          await pf.set(op.vf, op.settings)
        }
      }
      if (plain.length > 0 || ops.length === 0) await net.apply(netns, plain)
    },
    async [Symbol.asyncDispose]() {
      await pf[Symbol.asyncDispose]?.()
      await net[Symbol.asyncDispose]()
    },
  }
  return new Proxy(net, {
    get(target, name: keyof LinuxNet) {
      if (name === 'vfs' || name === 'apply' || name === Symbol.asyncDispose) return own[name]
      const value: unknown = target[name]
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
}
