import type { FakeKernel } from '../kernel/fake-kernel.ts'
import { parseUnsigned } from '../kernel/numbers.ts'
import type { PciDriver } from '../pci/driver.ts'
import { Refusal } from '../system-error.ts'
import { attribute, type Entries, folder, readable } from '../tree/entry.ts'
import { AFTER_SELFTESTS, afterInstructions, type CptCounts, formatCounts } from './cpt-counters.ts'
import type { OcteonRevision } from './layout.ts'
import { CPT_CRYPTO, formatCrypto, SOFTWARE_CRYPTO } from './proc-crypto.ts'

/** What the driver can manage, whatever the function's configuration space says. */
const VF_LIMIT = 128

const CPUS = 24

const NO_COUNTS: CptCounts = {
  instructions: 0n,
  instructionLatency: 0n,
  ncbReads: 0n,
  ncbReadLatency: 0n,
  ucFills: 0n,
  activeCycles: 0n,
  clock: 0n,
}

/** Microcode, in the order in which it is asked for. */
const ENGINES = ['ae', 'se', 'ie'] as const

/** The folder that a chip's microcode is looked for in. */
export function microcodeFolder(revision: OcteonRevision): string {
  return `/lib/firmware/mrvl/cpt${revision === '54' ? '05' : '04'}`
}

/** The crypto engine of a fake DPU: its drivers, its counters, and its algorithms in `/proc/crypto`. */
export class FakeCpt {
  /** Driver of its physical function. */
  readonly pfDriver: PciDriver
  /** Driver of its virtual functions. */
  readonly vfDriver: PciDriver
  readonly #revision: OcteonRevision
  readonly #users = new Map<string, number>()
  #counts: CptCounts = NO_COUNTS
  #errors: readonly bigint[] = [0n, 0n, 0n, 0n, 0n, 0n]
  #instances = 0

  constructor(kernel: FakeKernel, revision: OcteonRevision, exists: (path: string) => Promise<boolean>) {
    this.#revision = revision
    let limit = CPUS
    this.pfDriver = {
      name: 'rvu_cptpf',
      module: 'rvu_cptpf',
      ids: ['177d:a0f2', '177d:a0fd'],
      probe: (fn) => {
        fn.attributes = {
          kvf_limits: attribute(
            () => `${limit}\n`,
            (text) => {
              const wanted = parseUnsigned(text, CPUS)
              if (wanted === 0) throw new Refusal('EINVAL')
              limit = wanted
            },
          ),
        }
      },
      remove: (fn) => kernel.bus.disableVfs(fn),
      configureSriov: async (fn, count) => {
        if (count > VF_LIMIT) throw new Refusal('EINVAL')
        if (count === 0) {
          await kernel.bus.disableVfs(fn)
          return 0
        }
        await this.#loadMicrocode(exists, (text) => kernel.log.of('rvu_cptpf', fn.address, text))
        await kernel.bus.enableVfs(fn, count)
        kernel.log.of('rvu_cptpf', fn.address, `VFs enabled: ${count}`)
        return count
      },
    }
    this.vfDriver = {
      name: 'rvu_cptvf',
      module: 'rvu_cptvf',
      ids: ['177d:a0f3', '177d:a0fe'],
      probe: () => {
        this.#instances += 1
        if (this.#instances === 1 && this.#counts.instructions === 0n) this.#counts = AFTER_SELFTESTS
      },
      remove: () => void (this.#instances -= 1),
    }
  }

  /** What it has counted. */
  get counts(): CptCounts {
    return this.#counts
  }

  /** It works on so many instructions; each packet of ESP is one. */
  advance(instructions: number | bigint): void {
    this.#counts = afterInstructions(this.#counts, BigInt(instructions))
  }

  /** Sets counters: a real one may be beyond what a number can hold. */
  setCounts(counts: Partial<CptCounts>): void {
    this.#counts = { ...this.#counts, ...counts }
  }

  /** It has met errors: the values of the registers of `cpt_err_info`, in their order. */
  setErrors(registers: readonly bigint[]): void {
    this.#errors = this.#errors.map((value, index) => registers[index] ?? value)
  }

  /** An algorithm has so many security associations; that of ESP with AES-GCM has them by an entry that wraps it. @param driver - `cpt_rfc4106_gcm_aes` */
  setUsers(driver: string, users: number): void {
    this.#users.set(driver, users)
  }

  /** It has lost its microcode and counts from 0: the DPU boots. */
  restart(): void {
    this.#counts = NO_COUNTS
    this.#users.clear()
  }

  /** `/proc/crypto`. */
  procCrypto(): string {
    return formatCrypto([...(this.#instances > 0 ? CPT_CRYPTO : []), ...SOFTWARE_CRYPTO], this.#users)
  }

  /** `/sys/kernel/debug/cn10k`. */
  debugEntries(): Entries {
    const states = 'FREE STS : 0x00000000ffffffff\nBUSY STS : 0x0000000000000000\n'
    return {
      cpt: folder(() => ({
        cpt_pc: readable(() => formatCounts(this.#counts)),
        cpt_ae_sts: readable(states),
        cpt_se_sts: readable(states),
        cpt_ie_sts: readable(states),
        cpt_engines_info: readable('CPT Engine[0] Group Enable   0x01\nCPT Engine[0] ACTIVE INFO   0x0\nCPT Engine[0] CTL           0x0\n'),
        cpt_lfs_info: readable(this.#instances === 0 ? '' : 'CPT Lf[0] CTL          0x1\n'),
        cpt_err_info: readable(() => this.#errorText()),
      })),
    }
  }

  #errorText(): string {
    const [fault = 0n, psnExe = 0n, psnLf = 0n, rvu = 0n, ras = 0n, exe = 0n] = this.#errors.map((value) => value)
    const hex = (value: bigint): string => `0x${value.toString(16).padStart(16, '0')}`
    return [
      `CPT_AF_FLTX_INT:       ${hex(fault)} ${hex(0n)}`,
      `CPT_AF_PSNX_EXE:       ${hex(psnExe)} ${hex(0n)}`,
      `CPT_AF_PSNX_LF:        ${hex(psnLf)}`,
      `CPT_AF_RVU_INT:        ${hex(rvu)}`,
      `CPT_AF_RAS_INT:        ${hex(ras)}`,
      `CPT_AF_EXE_ERR_INFO:   ${hex(exe)}`,
    ]
      .map((line) => `${line}\n`)
      .join('')
  }

  async #loadMicrocode(exists: (path: string) => Promise<boolean>, say: (text: string) => void): Promise<void> {
    const path = microcodeFolder(this.#revision)
    for (const engine of ENGINES) {
      if (await exists(`${path}/${engine}.out`)) continue
      say(`Direct firmware load for ${path.replace('/lib/firmware/', '')}/${engine}.out failed with error -2`)
      throw new Refusal('ENOENT')
    }
    say('Engine_group0: microcode loaded se.out')
    say('Engine_group1: reuse microcode of Engine_group0')
    say('Engine_group2: microcode loaded ae.out')
  }
}
