import { closeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import type { BpfProgram } from '../bpf/program.ts'
import { Refusal } from './errno.ts'

/** Loads eBPF programs into the kernel. */
export interface BpfLoader {
  /** Loads a program for the frames of a link. @returns its descriptor, to be closed by the caller @throws Refusal with the verifier's last words */
  load(program: BpfProgram): number
}

/** Number of bpf(2), which no libc wraps, by architecture. */
const SYSCALL: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 321, arm64: 280 }
const MAP_CREATE = 0
const PROG_LOAD = 5
const MAP_TYPE_ARRAY = 2
const PROG_TYPE_SCHED_CLS = 3
const LOAD_64 = 0x18
const INSTRUCTION = 8
const KEY_BYTES = 4
const LOG_BYTES = 1 << 20
const LOG_SHOWN = 400

/** Loads the bindings. @throws Refusal ENOSYS on an architecture whose call numbers are not known here */
export function bpfLoader(): BpfLoader {
  const number = SYSCALL[process.arch]
  if (number === undefined) throw new Refusal(constants.errno.ENOSYS, `bpf on ${process.arch}`)
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const program = koffi.load(null)
  const mapAttributes = koffi.struct({ type: 'uint32_t', key: 'uint32_t', value: 'uint32_t', entries: 'uint32_t' })
  const loadAttributes = koffi.struct({
    type: 'uint32_t',
    count: 'uint32_t',
    instructions: 'const void *',
    license: 'const char *',
    logLevel: 'uint32_t',
    logSize: 'uint32_t',
    log: 'void *',
  })
  const bind = (attributes: typeof mapAttributes): ((command: number, value: object) => number) => {
    const syscall = program.func('syscall', 'long', ['long', 'int', koffi.pointer(attributes), 'uint32_t'])
    return (command, value) => Number(syscall(number, command, value, koffi.sizeof(attributes)))
  }
  const [createMap, loadProgram] = [bind(mapAttributes), bind(loadAttributes)]

  const load = (instructions: Buffer, log: Buffer | null): number =>
    loadProgram(PROG_LOAD, {
      type: PROG_TYPE_SCHED_CLS,
      count: instructions.length / INSTRUCTION,
      instructions,
      // Nothing that needs it is used, and nothing of ours is under it.
      license: 'Apache-2.0',
      logLevel: log === null ? 0 : 1,
      logSize: log?.length ?? 0,
      log,
    })

  return {
    load: ({ instructions, maps }) => {
      const descriptors: number[] = []
      try {
        for (const { bytes } of maps) {
          const map = createMap(MAP_CREATE, { type: MAP_TYPE_ARRAY, key: KEY_BYTES, value: bytes, entries: 1 })
          if (map < 0) throw new Refusal(koffi.errno(), `bpf: a map of ${bytes} bytes`)
          descriptors.push(map)
        }
        const linked = withMaps(Buffer.from(instructions), descriptors)
        const loaded = load(linked, null)
        if (loaded >= 0) return loaded
        const errno = koffi.errno()
        const log = Buffer.alloc(LOG_BYTES)
        load(linked, log)
        throw new Refusal(errno, `bpf: the program is refused: ${lastWords(log)}`)
      } finally {
        // The program holds its maps.
        for (const descriptor of descriptors) closeSync(descriptor)
      }
    },
  }
}

function withMaps(instructions: Buffer, descriptors: readonly number[]): Buffer {
  for (let at = 0; at < instructions.length; at += INSTRUCTION) {
    if (instructions[at] !== LOAD_64 || (instructions.readUInt8(at + 1) & 0xf0) === 0) continue
    instructions.writeInt32LE(descriptors[instructions.readInt32LE(at + 4)] ?? -1, at + 4)
  }
  return instructions
}

const lastWords = (log: Buffer): string => {
  const end = log.indexOf(0)
  return log.toString('utf8', 0, Math.max(end, 0)).trim().slice(-LOG_SHOWN)
}
