import { formatVfId, type HostDevice, OffloadError, type VfId } from '@cni-offload/sdk'
import type { HardwareFixture } from '../../src/hardware/index.ts'

/** A sound backend, put on top of one that knows no userspace drivers. */
export function withPrograms<F extends HardwareFixture>(fixture: F): F {
  const programs = new Set<string>()
  const wrap = (host: HostDevice): HostDevice => ({
    ...host,
    name: host.name,
    specVersion: host.specVersion,
    discover: async (ctx) =>
      (await host.discover(ctx)).map((vf) => {
        const { netdev: _away, ...rest } = vf
        return programs.has(formatVfId(vf.id)) ? { ...rest, userspace: 'vfio-pci' } : vf
      }),
    acquire: async (vf, want, ctx) => {
      if (programs.has(formatVfId(vf))) throw new OffloadError('HARDWARE_FAILURE', `${formatVfId(vf)} has no interface`)
      return await host.acquire(vf, want, ctx)
    },
    release: (vf, from, ctx) => host.release(vf, programs.has(formatVfId(vf)) ? {} : from, ctx),
    watch: (signal) => host.watch(signal),
  })
  return {
    ...fixture,
    host: wrap(fixture.host),
    restartHost: async () => wrap(await fixture.restartHost()),
    giveToPrograms: async (vf: VfId) => {
      programs.add(formatVfId(vf))
      return { [Symbol.asyncDispose]: async () => void programs.delete(formatVfId(vf)) }
    },
  }
}
