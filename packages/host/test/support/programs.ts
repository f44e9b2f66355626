import { formatVfId, type HostDevice, OffloadError, type VfAdminSettings, type VirtualFunction } from '@cni-offload/sdk'

/** A card some of whose VFs are with a userspace driver. Their interfaces are not to be touched: a program has the functions. */
export class Programs {
  /** Drivers by VF. */
  readonly drivers = new Map<string, string>()
  /** What is different about them. */
  mac: string | undefined
  admin: VirtualFunction['capabilities']['admin'] | undefined
  /** What their physical function was told, and that they were released, in order. */
  readonly calls: string[] = []
  /** How often anybody has looked. */
  looks = 0
  /** What their physical function makes of them, by VF. */
  readonly settings = new Map<string, VfAdminSettings>()

  readonly wrap = (real: HostDevice): HostDevice => ({
    name: real.name,
    specVersion: real.specVersion,
    discover: async (ctx) => {
      this.looks++
      return (await real.discover(ctx)).map((vf) => this.#seen(vf))
    },
    acquire: async (vf, want, ctx) => {
      const driver = this.drivers.get(formatVfId(vf))
      if (driver !== undefined) throw new OffloadError('HARDWARE_FAILURE', `${formatVfId(vf)} has no interface: ${driver} has it`)
      return await real.acquire(vf, want, ctx)
    },
    configure: async (vf, settings) => {
      this.calls.push(`configure ${formatVfId(vf)} ${JSON.stringify(settings)}`)
      this.settings.set(formatVfId(vf), settings)
    },
    deviations: async (vf, settings) => {
      const has = JSON.stringify(this.settings.get(formatVfId(vf)))
      return has === JSON.stringify(settings) ? [] : [`it has ${has}`]
    },
    release: async (vf, from, ctx) => {
      if (!this.drivers.has(formatVfId(vf))) return await real.release(vf, from, ctx)
      this.calls.push(`release ${formatVfId(vf)}`)
      this.settings.delete(formatVfId(vf))
    },
    watch: (signal) => real.watch(signal),
    [Symbol.asyncDispose]: async () => await real[Symbol.asyncDispose]?.(),
  })

  #seen(vf: VirtualFunction): VirtualFunction {
    const userspace = this.drivers.get(formatVfId(vf.id))
    if (userspace === undefined) return vf
    const { netdev: _none, ...rest } = vf
    const capabilities = { ...vf.capabilities, ...(this.admin === undefined ? {} : { admin: this.admin }) }
    return { ...rest, userspace, mac: this.mac ?? vf.mac, capabilities }
  }
}
