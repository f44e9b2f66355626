import { constants } from 'node:os'

/** Reasons that the fake kernel refuses something for. */
export type Errno =
  | 'EACCES'
  | 'EAGAIN'
  | 'EBUSY'
  | 'EEXIST'
  | 'EINVAL'
  | 'EIO'
  | 'EISDIR'
  | 'ELOOP'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOTDIR'
  | 'ENOTEMPTY'
  | 'EPERM'
  | 'ERANGE'
  | 'ESRCH'

/** An error as Node makes it of a system call that failed. */
export class SystemError extends Error {
  override readonly name = 'Error'
  /** Reason: `ENOENT`, … */
  readonly code: string
  /** Its number, negative. */
  readonly errno: number
  /** System call. */
  readonly syscall: string
  /** What it was about. */
  readonly path: string

  constructor(code: Errno, syscall: string, path: string) {
    super(`${code}: ${syscall} '${path}'`)
    this.code = code
    this.errno = -constants.errno[code]
    this.syscall = syscall
    this.path = path
  }
}

/** What a driver or an attribute of the kernel returns instead of success; whoever made the system call makes a {@link SystemError} of it. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  /** Reason. */
  readonly code: Errno

  constructor(code: Errno) {
    super(code)
    this.code = code
  }
}
