#!/usr/bin/env node
/**
 * The program that stands for kubectl: it tells a {@link FakeKubectl} what it was called with and does as that says. Its first
 * argument is the socket, the others are kubectl's.
 */
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'

const [socket = '', ...args] = process.argv.slice(2)
const upToCommand = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
/** As kubectl, it leaves its input alone unless it is told to read it. */
const readsInput = upToCommand.some((arg) => ['-', '-f-', '--filename=-', '-i', '-it', '--stdin'].includes(arg))

const connection = connect(socket)
// Not ended: that it is, tells that this process is no more.
connection.write(`${JSON.stringify({ args, stdin: readsInput ? await text(process.stdin) : '', kubeconfig: process.env['KUBECONFIG'] })}\n`)
const { stdout, stderr, exitCode } = JSON.parse(await text(connection)) as { stdout: string; stderr: string; exitCode: number }
process.stderr.write(stderr)
process.stdout.write(stdout)
process.exitCode = exitCode
