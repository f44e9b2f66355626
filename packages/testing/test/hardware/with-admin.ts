import {
  askedVfSettings,
  formatVfId,
  type HostDevice,
  OffloadError,
  VF_ADMIN_SETTINGS,
  type VfAdminSetting,
  type VfAdminSettings,
  type VfId,
} from '@cni-offload/sdk'
import type { HardwareFixture } from '../../src/hardware/index.ts'

const OFFERED: readonly VfAdminSetting[] = VF_ADMIN_SETTINGS.filter((setting) => setting !== 'mac')

const FIRST: Required<VfAdminSettings> = {
  mac: '00:00:00:00:00:00',
  vlan: { id: 0, qos: 0, protocol: '802.1q' },
  minTxRate: 0,
  maxTxRate: 0,
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
}

/** A sound backend, put on top of one whose functions have no physical one. */
export function withAdmin<F extends HardwareFixture>(fixture: F): F {
  // The card and the disk: they outlive the backend.
  const now = new Map<string, Required<VfAdminSettings>>()
  const before = new Map<string, Required<VfAdminSettings>>()
  const of = (vf: VfId): Required<VfAdminSettings> => now.get(formatVfId(vf)) ?? FIRST
  const wrap = (host: HostDevice): HostDevice => ({
    name: host.name,
    specVersion: host.specVersion,
    discover: async (ctx) => (await host.discover(ctx)).map((vf) => ({ ...vf, capabilities: { ...vf.capabilities, admin: OFFERED } })),
    acquire: (vf, want, ctx) => host.acquire(vf, want, ctx),
    async configure(vf, settings) {
      const beyond = askedVfSettings(settings).filter((setting) => !OFFERED.includes(setting))
      if (beyond.length > 0) throw new OffloadError('HARDWARE_FAILURE', `${beyond.join()} is not made`)
      const id = formatVfId(vf)
      before.set(id, before.get(id) ?? of(vf))
      now.set(id, { ...of(vf), ...settings })
    },
    deviations: async (vf, settings) =>
      (Object.keys(settings) as (keyof VfAdminSettings)[]).flatMap((field) => {
        const [is, should] = [JSON.stringify(of(vf)[field]), JSON.stringify(settings[field])]
        return is === should ? [] : [`${field} is ${is} instead of ${should}`]
      }),
    async release(vf, from, ctx) {
      await host.release(vf, from, ctx)
      const id = formatVfId(vf)
      const was = before.get(id)
      if (was !== undefined) now.set(id, was)
      before.delete(id)
    },
    watch: (signal) => host.watch(signal),
  })
  return {
    ...fixture,
    host: wrap(fixture.host),
    restartHost: async () => wrap(await fixture.restartHost()),
    enforced: async (vf: VfId) => of(vf),
  }
}
