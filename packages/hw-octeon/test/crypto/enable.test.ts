import { systemClock } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { type CptEnableOptions, cptFirmware, cptSilicon, disableCpt, enableCpt, missingFirmware, planCpt } from '../../src/crypto/index.ts'
import { association, CPT, cryptoText, entry, GCM, SOFT, usingCpt, usingCpu } from '../support/crypto-entries.ts'
import { MemoryMachine } from '../support/memory-machine.ts'
import { cptMachine, NUMVFS, PF, plugVf, VF } from './cpt-machine.ts'

const signal = (): AbortSignal => AbortSignal.timeout(60_000)
/** A clock whose sleep is over at once, for whoever waits for something that never comes. */
const hastyClock = (): CptEnableOptions['clock'] => {
  let at = 0
  return { now: () => at, monotonic: () => at, sleep: (ms) => Promise.resolve(void (at += ms)) }
}
const options = (more: Partial<CptEnableOptions> = {}): CptEnableOptions => ({ signal: signal(), clock: systemClock, ...more })

describe('switching CPT on', () => {
  it('says what it would write, and writes that', async () => {
    const machine = cptMachine()
    expect(await planCpt(machine, signal())).toMatchObject({ kind: 'enable', file: NUMVFS, from: '0', to: '1' })
    expect(machine.written).toEqual([])
    expect(await enableCpt(machine, options())).toEqual({ pf: PF, vfs: [VF], changed: true, late: [] })
    expect(machine.written).toEqual([`${NUMVFS} 1`])
  })

  it('changes nothing the second time, whoever did it', async () => {
    const machine = cptMachine()
    await enableCpt(machine, options())
    machine.written.length = 0
    expect(await planCpt(machine, signal())).toMatchObject({ kind: 'done' })
    expect(await enableCpt(machine, options())).toMatchObject({ vfs: [VF], changed: false })
    expect(machine.written).toEqual([])
  })

  it('names the associations that began without it', async () => {
    const machine = cptMachine()
    machine.files.set('/proc/crypto', cryptoText(SOFT, usingCpu(1)))
    const old = association(5n)
    const other = association(5n, { algorithm: 'rfc4543(gcm(aes))', spi: 9 })
    expect(await enableCpt(machine, options({ associations: () => [old, other] }))).toMatchObject({ changed: true, late: [old] })
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT, usingCpt(1)))
    expect(await enableCpt(machine, options({ associations: () => [old, other] }))).toMatchObject({ changed: false, late: [] })
  })

  it('names the firmware that is missing, before it writes', async () => {
    const machine = cptMachine()
    machine.files.delete('/lib/firmware/mrvl/cpt04/ie.out')
    await expect(enableCpt(machine, options())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: `CPT ${PF} has no microcode: ie.out is not in /lib/firmware/mrvl/cpt04 (that folder, as the card is CN106xx A1)`,
      hint: expect.stringContaining('ENOENT'),
    })
    expect(machine.written).toEqual([])
  })

  it('explains ENOENT of the driver, which is about firmware', async () => {
    const machine = cptMachine()
    machine.onWrite.set(NUMVFS, () => 'ENOENT')
    await expect(enableCpt(machine, options())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('/lib/firmware/mrvl/cpt04'),
    })
  })

  it('says what stands in the way', async () => {
    await expect(planCpt(new MemoryMachine(), signal())).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(planCpt(cptMachine({ driver: 'vfio-pci' }), signal())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: `CPT ${PF} has driver vfio-pci`,
    })
    const taken = cptMachine({ numVfs: 1 })
    plugVf(taken, 'vfio-pci')
    await expect(planCpt(taken, signal())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining(`none of them the kernel's: ${VF} (vfio-pci)`),
    })
  })

  it('is not done before its algorithms are there and tested', async () => {
    const machine = cptMachine()
    const make = machine.onWrite.get(NUMVFS)
    machine.onWrite.set(NUMVFS, (text) => {
      const refused = make?.(text)
      machine.files.set('/proc/crypto', cryptoText(SOFT, entry(GCM, 'cpt_rfc4106_gcm_aes', 0, { selftest: 'unknown' })))
      return refused
    })
    await expect(enableCpt(machine, options({ clock: hastyClock() }))).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('selftest'),
    })
  })
})

describe('switching CPT off again', () => {
  it('is refused while associations use it', async () => {
    const machine = cptMachine()
    await enableCpt(machine, options())
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT, usingCpt(2)))
    await expect(disableCpt(machine, PF, options())).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining('2 associations'),
    })
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT))
    await disableCpt(machine, PF, options())
    expect(machine.files.get(NUMVFS)).toBe('0\n')
  })
})

describe('firmware of CPT', () => {
  const folder = (device: string, subsystemDevice: string, revision: number, t106Mode = false): string =>
    cptFirmware(cptSilicon({ device, subsystemDevice, revision }), t106Mode).folder

  it('goes by stepping', () => {
    expect(folder('a0f2', 'b900', 0x50)).toBe('mrvl/cpt04')
    expect(folder('a0f2', 'b900', 0x51)).toBe('mrvl/cpt04')
    expect(folder('a0f2', 'b900', 0x04)).toBe('mrvl/cpt04')
    expect(folder('a0f2', 'b900', 0x54)).toBe('mrvl/cpt05')
    expect(folder('a0f2', 'bd00', 0x50)).toBe('mrvl/cpt05')
    expect(folder('a0f2', 'b900', 0x54, true)).toBe('mrvl/cpt04')
    expect(folder('a0fd', 'b200', 1)).toBe('mrvl/cpt01')
  })

  it('goes by what devlink says of its mode', async () => {
    const machine = cptMachine({ revision: '0x54' }, 'mrvl/cpt04')
    await expect(planCpt(machine, signal())).rejects.toMatchObject({ message: expect.stringContaining('mrvl/cpt05') })
    const shown = { param: { [`pci/${PF}`]: [{ name: 't106_mode', type: 'driver-specific', values: [{ cmode: 'runtime', value: 1 }] }] } }
    machine.commands.set(`devlink -j dev param show pci/${PF} name t106_mode`, { stdout: JSON.stringify(shown) })
    expect(await planCpt(machine, signal())).toMatchObject({ kind: 'enable' })
    machine.commands.set(`devlink -j dev param show pci/${PF} name t106_mode`, { stdout: 'no JSON' })
    await expect(planCpt(machine, signal())).rejects.toMatchObject({ message: expect.stringContaining('mrvl/cpt05') })
  })

  it('may be packed, for the running release only, or in a folder of the administrator', async () => {
    const machine = new MemoryMachine({
      '/proc/sys/kernel/osrelease': '6.1.67\n',
      '/sys/module/firmware_class/parameters/path': '/srv/fw\n',
    })
    const firmware = { folder: 'mrvl/cpt04', because: '' }
    expect(await missingFirmware(machine, firmware)).toEqual(['ae.out', 'se.out', 'ie.out'])
    machine.files.set('/lib/firmware/updates/6.1.67/mrvl/cpt04/ae.out', '')
    machine.files.set('/srv/fw/mrvl/cpt04/se.out', '')
    machine.files.set('/lib/firmware/mrvl/cpt04/ie.out.zst', '')
    expect(await missingFirmware(machine, firmware)).toEqual([])
  })
})
