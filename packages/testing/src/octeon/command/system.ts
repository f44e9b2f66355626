import { constants } from 'node:os'
import type { FakeKernel } from '../kernel/fake-kernel.ts'
import { type Command, complains, divide, done } from './command.ts'

/** `dmesg [-t] [-C|-c]`. */
export function dmesg({ log }: FakeKernel): Command {
  return (args) => {
    const known = new Set(['-t', '--notime', '-C', '--clear', '-c', '--read-clear', '-k', '--kernel', '--nopager', '-P'])
    const unknown = args.find((arg) => !known.has(arg))
    if (unknown !== undefined) return complains(1, `dmesg: unrecognized option '${unknown}'`)
    const has = (...flags: string[]): boolean => args.some((arg) => flags.includes(arg))
    const text = has('-C', '--clear') ? '' : log.text({ times: !has('-t', '--notime') })
    if (has('-C', '--clear', '-c', '--read-clear')) log.clear()
    return done(text)
  }
}

/** `uname` with one of `-a`, `-m`, `-n`, `-r`, `-s`. */
export function uname({ hostname, release, side }: FakeKernel): Command {
  const machine = side === 'dpu' ? 'aarch64' : 'x86_64'
  return ([flag = '-s', ...rest]) => {
    const texts: Readonly<Record<string, string>> = {
      '-s': 'Linux',
      '-n': hostname,
      '-r': release,
      '-m': machine,
      '-a': `Linux ${hostname} ${release} #1 SMP ${machine} GNU/Linux`,
    }
    const text = texts[flag]
    return text === undefined || rest.length > 0 ? complains(1, `uname: extra operand '${flag}'`) : done(`${text}\n`)
  }
}

/** `lsmod`. */
export function lsmod({ modules }: FakeKernel): Command {
  return () => {
    const rows = modules
      .text()
      .split('\n')
      .filter((row) => row !== '')
    return done(`Module                  Size  Used by\n${rows.map((row) => listed(row.split(' '))).join('')}`)
  }
}

const listed = ([name = '', size = '', users = '', by = '']: readonly string[]): string =>
  `${name.padEnd(20)} ${size.padStart(7)}  ${users} ${by === '-' ? '' : by.replace(/,$/, '')}`.trimEnd().concat('\n')

/** `kill [-SIGNAL] PID…`, of processes that the machine shows. */
export function kill({ processes }: FakeKernel): Command {
  return (args) => {
    const { flags, words } = divide(args)
    const signal = signalOf(flags[0]?.slice(1) ?? 'TERM')
    if (signal === undefined) return complains(1, `kill: unknown signal ${flags[0]}`)
    for (const word of words) {
      const target = processes.get(Number(word))
      if (target?.kill === undefined) return complains(1, `kill: sending signal to ${word} failed: No such process`)
      if (signal !== 'EXIST') target.kill(signal)
    }
    return done()
  }
}

function signalOf(text: string): NodeJS.Signals | 'EXIST' | undefined {
  if (text === '0') return 'EXIST'
  const name = `SIG${text.replace(/^SIG/, '')}`
  const found = Object.entries(constants.signals).find(([signal, number]) => signal === name || String(number) === text)
  return found?.[0] as NodeJS.Signals | undefined
}
