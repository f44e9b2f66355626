import { runChild } from '@cni-offload/sdk/exec'
import type { NetnsPath } from '@cni-offload/linux'
import { inNetns } from '../../net/exec.ts'
import type { Command } from './command.ts'

/** Programs that are about the network only: they really run, in the machine's network namespace. */
export const NETWORK_PROGRAMS = ['ip', 'ping', 'ping6', 'arping', 'ethtool', 'bridge', 'tc', 'ss'] as const

/** A program that really runs in a network namespace. */
export function inNamespace(program: string, netns: NetnsPath): Command {
  return async (args, signal) => {
    const [file = '', ...rest] = inNetns(netns, [program, ...args])
    return await runChild({ argv: [file, ...rest], env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' }, stdin: '' }, signal)
  }
}
