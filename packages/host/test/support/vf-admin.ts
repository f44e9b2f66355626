import {
  askedVfSettings,
  formatVfId,
  type HostDevice,
  OffloadError,
  type VfAdminSetting,
  type VfAdminSettings,
  type VfId,
} from '@cni-offload/sdk'

/** A physical function that makes settings of VFs, put in front of hardware that has none. */
export class FakeVfAdmin {
  /** What is set now, by VF; nothing of one that is pristine. */
  readonly settings = new Map<string, VfAdminSettings>()
  /** Names of all calls that concern settings, in their order. */
  readonly calls: string[] = []
  /** Runs before a VF is configured; may throw or look around. */
  before: (vf: VfId) => Promise<void> | void = () => {}
  /** Settings that it refuses. */
  refuses: readonly VfAdminSetting[] = []
  /** Whether it does not answer. */
  silent = false
  /** What it says that it can do. */
  offers: readonly VfAdminSetting[]

  constructor(...offers: readonly VfAdminSetting[]) {
    this.offers = offers
  }

  readonly inFrontOf = (device: HostDevice): HostDevice => ({
    name: device.name,
    specVersion: device.specVersion,
    discover: async (ctx) =>
      (await device.discover(ctx)).map((vf) => ({ ...vf, capabilities: { ...vf.capabilities, admin: this.offers } })),
    acquire: async (vf, want, ctx) => {
      this.settings.delete(formatVfId(vf))
      return await device.acquire(vf, want, ctx)
    },
    configure: async (vf, settings) => {
      this.calls.push(`configure ${formatVfId(vf)}`)
      await this.before(vf)
      const refused = askedVfSettings(settings).filter((setting) => this.refuses.includes(setting))
      if (refused.length > 0) throw new OffloadError('HARDWARE_FAILURE', `the driver refuses ${refused.join()}`)
      this.settings.set(formatVfId(vf), { ...this.settings.get(formatVfId(vf)), ...settings })
    },
    deviations: async (vf, settings) => {
      this.calls.push(`deviations ${formatVfId(vf)}`)
      if (this.silent) throw new OffloadError('HARDWARE_FAILURE', 'the physical function cannot be asked')
      const has = this.settings.get(formatVfId(vf)) ?? {}
      const fields = Object.keys(settings) as (keyof VfAdminSettings)[]
      return fields.filter((field) => JSON.stringify(has[field]) !== JSON.stringify(settings[field])).map((field) => `${field} differs`)
    },
    release: async (vf, from, ctx) => {
      await device.release(vf, from, ctx)
      this.settings.delete(formatVfId(vf))
    },
    watch: (signal) => device.watch(signal),
    [Symbol.asyncDispose]: async () => await device[Symbol.asyncDispose]?.(),
  })
}
